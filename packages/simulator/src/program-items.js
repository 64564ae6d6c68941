import { dataWaitsOf, opKinds, tileMasks, wireBytesOf, worldSizeOf } from "@hsap/schedule";
import { documentAt } from "@hsap/workload";
const attend = opKinds.indexOf("attend");
const score = opKinds.indexOf("score");
const weigh = opKinds.indexOf("weigh");
const unscore = opKinds.indexOf("unscore");
const softmax = opKinds.indexOf("softmax");
const recv = opKinds.indexOf("recv");
export const isTileOp = (kind) => kind === attend || kind === score || kind === weigh || kind === unscore;
/** Cuts the programs into calls and groups. `waits` is `dataWaitsOf(schedule)`, or `op.waitFor` of a lowered schedule. */
export function programItemsOf(schedule, waits = dataWaitsOf(schedule)) {
    const ranks = worldSizeOf(schedule);
    const { ops, opBegin } = schedule;
    const calls = new CallList(schedule);
    const groups = new GroupList(ranks);
    for (let rank = 0; rank < ranks; rank++) {
        calls.beginRank(rank);
        groups.beginRank(rank);
        let issue = 0;
        // The call that holds each computation op so far, so that a count of ops becomes a count of calls.
        const callOfOp = [0];
        for (let row = opBegin[rank]; row < opBegin[rank + 1];) {
            let end = row + 1;
            if (ops.kind[row] <= recv) {
                while (end < opBegin[rank + 1] && ops.kind[end] <= recv && ops.group[end] === ops.group[row])
                    end++;
                groups.add(row, end, callOfOp[Math.min(waits[row], callOfOp.length - 1)], issue++, ops.attribute[row]);
            }
            else {
                const sameCall = (next) => isTileOp(ops.kind[next]) === isTileOp(ops.kind[row]) &&
                    (isTileOp(ops.kind[row]) ? ops.kind[next] === ops.kind[row] : ops.kind[next] > recv) &&
                    waits[next] <= waits[row];
                while (end < opBegin[rank + 1] && ops.kind[end] > recv && sameCall(end))
                    end++;
                calls.add(row, end, waits[row], issue++);
                for (let op = row; op < end; op++)
                    callOfOp.push(calls.countOfRank);
            }
            row = end;
        }
    }
    return { ranks, calls: calls.finish(), groups: groups.finish() };
}
const noDocuments = { count: 0, longest: 0 };
class GroupList {
    #begin;
    #rows = [[], [], [], [], []];
    constructor(ranks) {
        this.#begin = new Int32Array(ranks + 1);
    }
    beginRank(rank) {
        this.#begin[rank] = this.#rows[0].length;
    }
    add(opBegin, opEnd, waitFor, issue, kind) {
        [opBegin, opEnd, waitFor, issue, kind].forEach((value, column) => this.#rows[column].push(value));
    }
    finish() {
        this.#begin[this.#begin.length - 1] = this.#rows[0].length;
        const [opBegin, opEnd, waitFor, issue, kind] = this.#rows.map((column) => Int32Array.from(column));
        return { begin: this.#begin, opBegin, opEnd, waitFor, issue, kind: Uint8Array.from(kind) };
    }
}
class CallList {
    schedule;
    #begin;
    #opBegin = [];
    #opEnd = [];
    #waitFor = [];
    #issue = [];
    #isAttention = [];
    #query = [];
    #key = [];
    #accumulated = [];
    #moved = [];
    #sequences = [];
    #longestQueries = [];
    #longestKeys = [];
    #bytes;
    /** Query rows that a call of the rank has written so far, by part and heads: what a further call adds to. */
    #written = new Map();
    #firstOfRank = 0;
    constructor(schedule) {
        this.schedule = schedule;
        this.#begin = new Int32Array(worldSizeOf(schedule) + 1);
        this.#bytes = Float64Array.from(schedule.tensors, wireBytesOf);
    }
    /** Calls of the present rank so far. */
    get countOfRank() {
        return this.#opBegin.length - this.#firstOfRank;
    }
    beginRank(rank) {
        this.#begin[rank] = this.#opBegin.length;
        this.#firstOfRank = this.#opBegin.length;
        this.#written = new Map();
    }
    add(opBegin, opEnd, waitFor, issue) {
        const { ops, problem } = this.schedule;
        this.#opBegin.push(opBegin);
        this.#opEnd.push(opEnd);
        this.#waitFor.push(waitFor);
        this.#issue.push(issue);
        const isAttention = ops.kind[opBegin] === attend;
        this.#isAttention.push(isAttention ? 1 : 0);
        const backward = problem.pass === "backward";
        this.#query.push(isAttention ? this.#unionBytes(opBegin, opEnd, 0) : 0);
        this.#key.push(isAttention ? this.#unionBytes(opBegin, opEnd, 1) + this.#unionBytes(opBegin, opEnd, 2) : 0);
        this.#accumulated.push(isAttention ? this.#addedTo(opBegin, opEnd, backward ? 6 : 3) : 0);
        this.#moved.push(isTileOp(ops.kind[opBegin]) ? 0 : this.#movedBytes(opBegin, opEnd));
        const queries = isAttention ? this.#documents(opBegin, opEnd, 0) : noDocuments;
        this.#sequences.push(queries.count);
        this.#longestQueries.push(queries.longest);
        this.#longestKeys.push(isAttention ? this.#documents(opBegin, opEnd, 1).longest : 0);
    }
    finish() {
        this.#begin[this.#begin.length - 1] = this.#opBegin.length;
        return {
            begin: this.#begin,
            opBegin: Int32Array.from(this.#opBegin),
            opEnd: Int32Array.from(this.#opEnd),
            waitFor: Int32Array.from(this.#waitFor),
            issue: Int32Array.from(this.#issue),
            isAttention: Uint8Array.from(this.#isAttention),
            queryBytes: Float64Array.from(this.#query),
            keyBytes: Float64Array.from(this.#key),
            accumulatedBytes: Float64Array.from(this.#accumulated),
            movedBytes: Float64Array.from(this.#moved),
            sequences: Float64Array.from(this.#sequences),
            longestQueries: Int32Array.from(this.#longestQueries),
            longestKeys: Int32Array.from(this.#longestKeys),
        };
    }
    /** Bytes of the blocks at one position of a call's ops, each row counted once. */
    #unionBytes(opBegin, opEnd, position) {
        let bytes = 0;
        this.#eachUnion(opBegin, opEnd, position, (id, begin, end) => {
            const { blocks } = this.schedule;
            bytes += (end - begin) * (blocks.headEnd[id] - blocks.headBegin[id]) * this.#bytes[blocks.tensor[id]];
        });
        return bytes;
    }
    /** How many (document, head) pairs the blocks at a position are of, and the most tokens of one document there. */
    #documents(opBegin, opEnd, position) {
        const { blocks, problem } = this.schedule;
        let [count, longest, tokens, last, head] = [0, 0, 0, -1, -1];
        this.#eachUnion(opBegin, opEnd, position, (id, begin, end) => {
            // A stretch may run over several documents that lie side by side.
            for (let from = begin; from < end;) {
                const document = documentAt(problem.batch, from);
                const to = Math.min(end, problem.batch.cuSeqlens[document + 1]);
                if (document !== last || blocks.headBegin[id] !== head) {
                    count += blocks.headEnd[id] - blocks.headBegin[id];
                    tokens = 0;
                }
                [last, head] = [document, blocks.headBegin[id]];
                tokens += to - from;
                longest = Math.max(longest, tokens);
                from = to;
            }
        });
        return { count, longest };
    }
    /** Bytes of the output rows of a call to which an earlier call has added; all of its rows are noted as written. */
    #addedTo(opBegin, opEnd, position) {
        const { blocks } = this.schedule;
        let bytes = 0;
        const added = [];
        this.#eachUnion(opBegin, opEnd, position, (id, begin, end) => {
            const key = `${blocks.part[id]}:${blocks.headBegin[id]}`;
            const row = (blocks.headEnd[id] - blocks.headBegin[id]) * this.#bytes[blocks.tensor[id]];
            for (const [from, to] of this.#written.get(key) ?? [])
                bytes += row * Math.max(0, Math.min(to, end) - Math.max(from, begin));
            added.push([key, begin, end]);
        });
        for (const [key, begin, end] of added)
            note(this.#written, key, begin, end);
        return bytes;
    }
    /** Calls `take` for each stretch of tokens that the blocks at `position` cover, sorted and joined by their heads. */
    #eachUnion(opBegin, opEnd, position, take) {
        const { ops, blocks } = this.schedule;
        const ids = [];
        for (let op = opBegin; op < opEnd; op++) {
            const id = ops.operands[ops.operandBegin[op] + position];
            if (ids.length === 0 || ids[ids.length - 1] !== id)
                ids.push(id);
        }
        ids.sort((a, b) => blocks.headBegin[a] - blocks.headBegin[b] ||
            blocks.part[a] - blocks.part[b] ||
            blocks.tokenBegin[a] - blocks.tokenBegin[b]);
        for (let i = 0; i < ids.length;) {
            const id = ids[i];
            const begin = blocks.tokenBegin[id];
            let end = blocks.tokenEnd[id];
            for (i++; i < ids.length; i++) {
                const next = ids[i];
                if (blocks.headBegin[next] !== blocks.headBegin[id] || blocks.part[next] !== blocks.part[id])
                    break;
                if (blocks.tokenBegin[next] > end)
                    break;
                end = Math.max(end, blocks.tokenEnd[next]);
            }
            take(id, begin, end);
        }
    }
    /** Each operand is read once, and targets are written too. */
    #movedBytes(opBegin, opEnd) {
        const { ops, blocks } = this.schedule;
        let bytes = 0;
        for (let op = opBegin; op < opEnd; op++) {
            const begin = ops.operandBegin[op];
            for (let i = begin; i < ops.operandBegin[op + 1]; i++) {
                const id = ops.operands[i];
                const size = (blocks.tokenEnd[id] - blocks.tokenBegin[id]) *
                    (blocks.headEnd[id] - blocks.headBegin[id]) *
                    this.#bytes[blocks.tensor[id]];
                const isWritten = i === begin || ops.kind[op] === softmax;
                bytes += isWritten ? 2 * size : size;
            }
        }
        return bytes;
    }
}
/** Adds a stretch to the sorted, disjoint stretches of a key, joined with those it touches. */
function note(written, key, begin, end) {
    const stretches = written.get(key);
    if (stretches === undefined) {
        written.set(key, [[begin, end]]);
        return;
    }
    let first = 0;
    while (first < stretches.length && stretches[first][1] < begin)
        first++;
    let past = first;
    let [from, to] = [begin, end];
    for (; past < stretches.length && stretches[past][0] <= end; past++) {
        from = Math.min(from, stretches[past][0]);
        to = Math.max(to, stretches[past][1]);
    }
    stretches.splice(first, past - first, [from, to]);
}
export const causalMask = tileMasks.indexOf("causal");
//# sourceMappingURL=program-items.js.map