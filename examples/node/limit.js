// A model in Node: a line of JSON for each row on stdin, one back on stdout.
//
//   rdv model add fraud limit -- node examples/node/limit.js
"use strict";

const readline = require("node:readline");

function predict(data) {
  if (typeof data.amount !== "number") throw new Error("amount is not a number");
  const score = Math.min(1, data.amount / 10_000);
  return { score, action: score > 0.5 ? "review" : "accept" };
}

// It ends when its stdin ends: that is how rdv ends a model.
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, data } = JSON.parse(line);
  let answer;
  try {
    answer = { id, result: predict(data) };
  } catch (error) {
    answer = { id, error: error.message };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
