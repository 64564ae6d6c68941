/** A measured number as files of rates keep it: four digits, more than a measurement is worth. */
export const writtenNumber = (value: number): string => String(Number(value.toPrecision(4)));
