/** Report an error as one that nobody caught, and continue. */
export function report(error: unknown): void {
  if (globalThis.reportError) globalThis.reportError(error);
  else console.error(error);
}
