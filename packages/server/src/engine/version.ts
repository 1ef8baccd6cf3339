/** The version of this package. A constant, because a bundled server has no manifest beside it. */
export const version = "0.1.0";
