// The client of durable Server-Sent Events: https://pypi.org/project/eric-sse-django/

export { connect } from "./connect.js";
export { refetch } from "./reset.js";
export type { Acknowledge, AnyMessage, Message, Options, Reset, State, Stream } from "./types.js";
