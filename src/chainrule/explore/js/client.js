// The way to the worker: requests with answers, and of each kind of request only the newest.

class Client {
  constructor(source, model) {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(address);
    this.waiting = new Map();
    this.busy = new Map();
    this.count = 0;
    this.worker.onmessage = ({ data }) => this._received(data);
    this.worker.onerror = (event) => this._failed(event.message);
    this.ready = this._send("load", model);
  }

  _send(task, question) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, task, question });
    });
  }

  _received({ id, result, error }) {
    const { resolve, reject } = this.waiting.get(id);
    this.waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  }

  _failed(message) {
    for (const { reject } of this.waiting.values()) reject(new Error(message));
    this.waiting.clear();
  }

  /** Return the answer to a question. */
  async request(task, question) {
    await this.ready;
    return this._send(task, question);
  }

  /** Ask, unless the last question of this kind is still open: then the newest one follows it. */
  async newest(task, question, show) {
    if (this.busy.has(task)) {
      this.busy.set(task, { question, show });
      return;
    }
    this.busy.set(task, null);
    let next = { question, show };
    while (next) {
      const { question: asked, show: shown } = next;
      this.busy.set(task, null);
      try {
        const result = await this.request(task, asked);
        if (this.busy.get(task) === null) shown(result, null);
      } catch (error) {
        if (this.busy.get(task) === null) shown(null, error);
      }
      next = this.busy.get(task);
    }
    this.busy.delete(task);
  }
}
