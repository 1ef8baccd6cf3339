/** How polling grows rarer in tests. */
export const growth = {
  minPollIntervalMs: 50,
  maxPollIntervalMs: 5_000,
  backoffMultiplier: 2,
  emptyPollThreshold: 3,
  jitterFactor: 0.2,
};
