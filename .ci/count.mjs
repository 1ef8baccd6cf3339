// Prints what vitest counted: what was skipped, loudly, and then the closing line.
import { readFileSync } from "node:fs";

const counts = JSON.parse(readFileSync(process.argv[2], "utf8"));
const skipped = counts.numPendingTests + counts.numTodoTests;
if (skipped > 0) console.log(`NOT PROVEN HERE: ${skipped} tests were skipped`);
const broken = counts.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
const failed = counts.numFailedTests + broken.length;
console.log(`${counts.numPassedTests} passed, ${failed} failed`);
process.exitCode = failed === 0 && counts.numPassedTests > 0 ? 0 : 1;
