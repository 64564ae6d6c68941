import { InputError } from "@hsap/workload";
import type { Block, TokenRange } from "../block.ts";

const wordPattern = /[^\s[\]]*\[[^\]]*\]|\S+/g;
const blockPattern = /^([A-Za-z_]\w*)(?:#(\d+))?\[(\d+):(\d+) h(\d+):(\d+)\]$/;

/** The lines that say something: not blank, and not a comment. */
export const linesOf = (text: string): Line[] =>
  text
    .split("\n")
    .map((line, i) => new Line(line.trim(), i + 1))
    .filter((line) => line.text !== "" && !line.text.startsWith("#"));

/** One line, read word by word; a block is one word. Whatever is wrong with it is an InputError with the line's number. */
export class Line {
  readonly words: readonly string[];
  #at = 0;

  constructor(
    readonly text: string,
    readonly number: number,
  ) {
    this.words = text.match(wordPattern) ?? [];
  }

  /** The next word; `what` names it in the message if there is none. */
  word(what: string): string {
    const word = this.words[this.#at++];
    if (word === undefined) throw new InputError(`line ${this.number}: missing ${what}`);
    return word;
  }

  /** The next word, without taking it. */
  peek(): string | undefined {
    return this.words[this.#at];
  }

  /** Everything behind the first word. */
  rest(): string {
    return this.text.slice((this.words[0] ?? "").length).trim();
  }

  remaining(): readonly string[] {
    const words = this.words.slice(this.#at);
    this.#at = this.words.length;
    return words;
  }

  /** The remaining words, each `name=value`. */
  settings(): [name: string, value: string][] {
    return this.remaining().map((word) => {
      const [name, value, ...more] = word.split("=");
      if (value === undefined || value === "" || more.length > 0) throw this.invalid("setting", word, "name=value");
      return [name, value];
    });
  }

  /** The remaining words, each `begin:end`. */
  ranges(): TokenRange[] {
    return this.remaining().map((word) => {
      const [begin, end, ...more] = word.split(":");
      if (end === undefined || more.length > 0) throw this.invalid("range", word, "begin:end");
      return { begin: this.whole("token", begin), end: this.whole("token", end) };
    });
  }

  /** The next word as a block of one of the tensors named. */
  block(tensors: readonly string[]): Block {
    const word = this.word("block");
    const [, tensor, part = "0", ...bounds] = blockPattern.exec(word) ?? [];
    if (tensor === undefined) throw this.invalid("block", word, "tensor[begin:end hbegin:end] or tensor#part[...]");
    this.oneOf("tensor", tensor, tensors);
    const [tokenBegin, tokenEnd] = bounds.slice(0, 2).map((bound) => this.whole("token", bound));
    const [headBegin, headEnd] = bounds.slice(2).map((bound) => this.whole("head", bound, 65535));
    return { tensor, part: this.whole("part", part), tokenBegin, tokenEnd, headBegin, headEnd };
  }

  whole(what: string, word: string, most = 2 ** 31 - 1): number {
    const value = Number(word);
    if (/^\d+$/.test(word) && value <= most) return value;
    throw this.invalid(what, word, `a whole number from 0 to ${most}`);
  }

  oneOf(what: string, word: string, known: readonly string[]): string {
    if (known.includes(word)) return word;
    throw new InputError(`line ${this.number}: unknown ${what}: ${word} (must be ${known.join(", ")})`);
  }

  json(what: string): unknown {
    try {
      return JSON.parse(this.rest());
    } catch {
      throw this.invalid(what, this.rest(), "JSON");
    }
  }

  /** Ends the line: there may be no further word. */
  end(): void {
    if (this.peek() !== undefined) throw this.invalid("word", this.peek() as string, "the end of the line");
  }

  invalid(what: string, value: string, right: string): InputError {
    const shown = value.length > 80 ? `${value.slice(0, 80)}...` : value;
    return new InputError(`line ${this.number}: invalid ${what}: ${shown} (must be ${right})`);
  }

  /** Runs `make`; an InputError that it throws gets this line's number. */
  guard<T>(make: () => T): T {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof InputError) || error.message.startsWith("line ")) throw error;
      throw new InputError(`line ${this.number}: ${error.message}`);
    }
  }
}
