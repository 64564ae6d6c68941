/**
 * A schedule made ready for an engine: every block has a place in its rank's arena, and every op knows what it waits for.
 * Columns only, in the order of ranks and of each rank's issue order; the native engine reads them as they are.
 *
 * A *region* is a resident piece of one tensor on one rank: the bounding box of all blocks of that (tensor, part) which
 * overlap one another on that rank, so every operand lies in exactly one region. Element (token t, head h, column c) of a
 * region lies at `offset + 4 * (((h - headBegin) * (tokenEnd - tokenBegin) + (t - tokenBegin)) * width + c)` bytes for fp32.
 */
export interface LoweredSchedule {
  readonly rank: {
    /** Ops, regions of rank r: rows [r] to [r + 1]. */
    readonly opBegin: Int32Array;
    readonly regionBegin: Int32Array;
    /** Peak bytes of rank r: the arena's size. */
    readonly arenaBytes: Float64Array;
  };
  readonly tensor: {
    /** Index into `tensorNames` (see below), or its length + i for a strategy's own tensor in row i of this table. */
    readonly code: Int32Array;
    readonly heads: Int32Array;
    readonly width: Int32Array;
    /** Extent of the first axis: the batch's tokens, or the tensor's own rows. */
    readonly rows: Int32Array;
    /** 0 fp32, 1 bf16: what travels. */
    readonly dtype: Uint8Array;
    /** 0 input, 1 output, 2 internal. */
    readonly role: Uint8Array;
    /** 1: held in fp32 whatever travels. */
    readonly accumulates: Uint8Array;
  };
  readonly region: {
    readonly tensor: Int32Array;
    readonly part: Int32Array;
    readonly tokenBegin: Int32Array;
    readonly tokenEnd: Int32Array;
    readonly headBegin: Int32Array;
    readonly headEnd: Int32Array;
    /** Bytes from the arena's start, a multiple of 64. */
    readonly offset: Float64Array;
    /** Sum of the flags in `regionFlags`. */
    readonly flags: Int32Array;
    /**
     * The op (row) before which an accumulator is set empty (0, or -inf for lse), -1 if before the first op of the program,
     * -2 if never: it does not accumulate, or its first op is a receive that fills it whole.
     */
    readonly initOp: Int32Array;
  };
  /** Rows (rank, region, tokens) of the layout: the blocks of input regions that the rank fills, of output regions that are results. */
  readonly owned: {
    readonly region: Int32Array;
    readonly tokenBegin: Int32Array;
    readonly tokenEnd: Int32Array;
  };
  readonly op: {
    /** Indices into `opKinds` and `tileMasks` or `groupKinds`, peers and groups as in the schedule. */
    readonly kind: Uint8Array;
    readonly attribute: Uint8Array;
    readonly peer: Int32Array;
    readonly group: Int32Array;
    /**
     * How many items of the other lane must be finished first. For a computation op: groups of its rank. For a send or
     * receive: computation ops of its rank (the same number in every row of a group).
     */
    readonly waitFor: Int32Array;
    /** Operands of op i: rows operandBegin[i] to operandBegin[i + 1]. */
    readonly operandBegin: Int32Array;
  };
  readonly operand: {
    readonly region: Int32Array;
    readonly tokenBegin: Int32Array;
    readonly tokenEnd: Int32Array;
    readonly headBegin: Int32Array;
    readonly headEnd: Int32Array;
  };
}

/** Tensors the engine knows by meaning (it generates q, k, v, do and prepares lse and delta for a backward pass). Append only. */
export const tensorNames = [
  "q",
  "k",
  "v",
  "o",
  "lse",
  "do",
  "delta",
  "dq",
  "dk",
  "dv",
  "s",
  "kx",
  "vx",
  "dkx",
  "dvx",
] as const;

/**
 * `handedOver`: a piece of an input tensor, written by nothing but one receive that covers it, from memory that never
 * changes (its owner's, or another such region): an engine in one address space may alias it instead of copying.
 */
export const regionFlags = { input: 1, output: 2, handedOver: 4 } as const;
