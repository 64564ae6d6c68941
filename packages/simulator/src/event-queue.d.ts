/** Events by time, and of equal times in the order in which they were added: a binary heap in typed arrays. */
export declare class EventQueue {
    #private;
    /** Of the event last taken. */
    time: number;
    kind: number;
    subject: number;
    version: number;
    get length(): number;
    /** The time of the next event. */
    get nextTime(): number;
    add(time: number, kind: number, subject: number, version: number): void;
    /** Takes the next event into the public fields. The queue must not be empty. */
    take(): void;
}
