/** What the command exits with. */
export const exitCodes = { ok: 0, failed: 1, invalidInput: 2, interrupted: 130 } as const;
