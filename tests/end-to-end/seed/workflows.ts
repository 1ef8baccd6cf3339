/** What the quick start imports and does not show. */

import { task } from "@aikirun/task";
import { workflow } from "@aikirun/workflow";

const greet = task({ name: "greet", handler: async (input: { name: string }) => `Hello, ${input.name}!` });

export const onboardingWorkflow = workflow({ name: "onboarding" });

export const onboardingWorkflowV1 = onboardingWorkflow.v("1.0.0", {
  handler: (run, input: { name: string }) => greet.start(run, input),
});
