/** Takes note of when a flow will end at its present rate. */
export type Foretell = (flow: number, endUs: number, version: number) => void;
/**
 * Flows that share links, max-min fairly: no flow can go faster without slowing one that is no faster. A flow uses each of
 * its links with a weight (bytes on that link for each byte of the flow), so that a collective is one flow over many links.
 *
 * Rates are worked out again only for flows that share links, directly or over others, with one that came or went.
 */
export declare class FairShare {
    #private;
    private readonly capacity;
    private readonly foretell;
    /** Bytes that each link has carried. */
    readonly carried: Float64Array;
    /** Highest rate that each link has ever been used with, bytes a microsecond. */
    readonly highest: Float64Array;
    constructor(capacity: Float64Array, foretell: Foretell);
    /** Starts a flow of `bytes`; all weights are 1 where left out. Its end is foretold by the next `settle`. */
    start(nowUs: number, bytes: number, links: readonly number[], weights?: readonly number[]): number;
    /** Ends a flow if `version` is the one that its present end was foretold with; returns whether it was. */
    end(flow: number, version: number): boolean;
    /** Works out the rates of all flows that what happened since the last time can have changed. */
    settle(nowUs: number): void;
}
