type Column = Uint8Array | Uint16Array | Int32Array;

/** A typed array that grows: the write side of the columnar tables. */
export class GrowingColumn<T extends Column> {
  #values: T;
  #length = 0;

  constructor(private readonly make: new (length: number) => T) {
    this.#values = new make(64);
  }

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new this.make(this.#length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = value;
  }

  at(index: number): number {
    return this.#values[index];
  }

  /** Forgets all values but keeps their space. */
  clear(): void {
    this.#length = 0;
  }

  /** The values pushed so far, as an array of exactly that length. */
  finish(): T {
    return this.#values.slice(0, this.#length) as T;
  }
}
