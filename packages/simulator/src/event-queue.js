/** Events by time, and of equal times in the order in which they were added: a binary heap in typed arrays. */
export class EventQueue {
    #time = new Float64Array(1024);
    #order = new Float64Array(1024);
    #kind = new Uint8Array(1024);
    #subject = new Int32Array(1024);
    #version = new Int32Array(1024);
    #length = 0;
    #added = 0;
    /** Of the event last taken. */
    time = 0;
    kind = 0;
    subject = 0;
    version = 0;
    get length() {
        return this.#length;
    }
    /** The time of the next event. */
    get nextTime() {
        return this.#length === 0 ? Number.POSITIVE_INFINITY : this.#time[0];
    }
    add(time, kind, subject, version) {
        if (this.#length === this.#time.length)
            this.#grow();
        let hole = this.#length++;
        const order = this.#added++;
        while (hole > 0) {
            const parent = (hole - 1) >>> 1;
            // A later addition never goes before an equal time.
            if (this.#time[parent] <= time)
                break;
            this.#move(parent, hole);
            hole = parent;
        }
        this.#set(hole, time, order, kind, subject, version);
    }
    /** Takes the next event into the public fields. The queue must not be empty. */
    take() {
        this.time = this.#time[0];
        this.kind = this.#kind[0];
        this.subject = this.#subject[0];
        this.version = this.#version[0];
        const last = --this.#length;
        if (last === 0)
            return;
        const time = this.#time[last];
        const order = this.#order[last];
        let hole = 0;
        for (;;) {
            let child = 2 * hole + 1;
            if (child >= last)
                break;
            if (child + 1 < last && this.#isBefore(child + 1, this.#time[child], this.#order[child]))
                child++;
            if (!this.#isBefore(child, time, order))
                break;
            this.#move(child, hole);
            hole = child;
        }
        this.#set(hole, time, order, this.#kind[last], this.#subject[last], this.#version[last]);
    }
    #isBefore(index, time, order) {
        return this.#time[index] < time || (this.#time[index] === time && this.#order[index] < order);
    }
    #move(from, to) {
        this.#set(to, this.#time[from], this.#order[from], this.#kind[from], this.#subject[from], this.#version[from]);
    }
    #set(at, time, order, kind, subject, version) {
        this.#time[at] = time;
        this.#order[at] = order;
        this.#kind[at] = kind;
        this.#subject[at] = subject;
        this.#version[at] = version;
    }
    #grow() {
        const twice = (old, larger) => {
            larger.set(old);
            return larger;
        };
        const length = 2 * this.#time.length;
        this.#time = twice(this.#time, new Float64Array(length));
        this.#order = twice(this.#order, new Float64Array(length));
        this.#kind = twice(this.#kind, new Uint8Array(length));
        this.#subject = twice(this.#subject, new Int32Array(length));
        this.#version = twice(this.#version, new Int32Array(length));
    }
}
//# sourceMappingURL=event-queue.js.map