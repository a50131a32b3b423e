// The worker: it alone holds the weights; messages are {id, task, question}.

let answers = null;

const TASKS = {
  load({ description, weights }) {
    answers = new Answers(description, bytesOf(weights));
  },
  start: () => answers.start(),
  monitors: (question) => answers.monitors(question.given),
  ask: (question) => answers.ask(question),
  next: (question) => answers.next(question),
  rows: (question) => answers.rows(question),
};

self.onmessage = ({ data: { id, task, question } }) => {
  try {
    self.postMessage({ id, result: TASKS[task](question) });
  } catch (error) {
    self.postMessage({ id, error: error.message });
  }
};
