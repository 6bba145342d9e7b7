// What users of the client see.

/**
 * `refused`: the server gives no access, or an answer that is not a stream. `ended`: it has
 * nothing more for this client, whose listener was stopped or removed. `closed`: by close().
 */
export type State = "connecting" | "live" | "reconnecting" | "refused" | "ended" | "closed";

/** One message. `id` is its position in the log, "" from a server that sends none. */
export interface Message<Data = unknown, Type extends string = string> {
  readonly type: Type;
  readonly data: Data;
  readonly id: string;
}

/** Messages after one position, up to another, are gone. In a stream of several channels: whose. */
export interface Reset {
  readonly after: number;
  readonly floor: number;
  readonly channel?: string;
}

type TypeOf<Events> = keyof Events & string;

/** A message of one of the types of `Events`, or a reset. */
export type AnyMessage<Events> =
  | { [Type in TypeOf<Events>]: Message<Events[Type], Type> }[TypeOf<Events>]
  | Message<Reset, "eric-reset">;

/** Sends the position up to which messages are processed; `keepalive` while a page is left. */
export type Acknowledge = (position: number, request: { keepalive: boolean }) => unknown;

export interface Options<Events> {
  /** The types to deliver. Without it, all. */
  types?: readonly TypeOf<Events>[];
  /** Called with each message, before the listeners of its type. */
  onmessage?: (message: AnyMessage<Events>) => unknown;
  /**
   * What to do when messages are gone: `"reload"` the page, or call a function that loads the
   * present state. Later messages wait for the promise that it returns.
   */
  onreset?: "reload" | ((reset: Reset) => unknown);
  onstate?: (state: State) => unknown;
  /**
   * A new path of the stream, for when its ticket has expired: a function, or the URL of a view
   * that answers with it (as text, or as the `url` of a JSON object).
   */
  refresh?: string | (() => string | URL | Promise<string | URL>);
  /**
   * Whether the tabs of this browser share one stream. Those that do have the same name; by
   * default, the URL without ticket and cursor. Needs https or localhost.
   */
  share?: boolean | string;
  /**
   * Acknowledge what was processed: through this app's API at `/api/`, at the URL of another
   * view that takes `{"position": 7}`, or by a function.
   */
  acknowledge?: boolean | string | Acknowledge;
  /** How to read a message's data: JSON.parse by default; `String` for a channel of text. */
  parse?: (text: string, type: string) => unknown;
  /** Seconds without a byte after which the connection is replaced. 0 for never. */
  silence?: number;
}

/** An open stream. It stays open until close(), or until the server ends it. */
export interface Stream<Events> extends AsyncIterable<AnyMessage<Events>> {
  readonly state: State;
  /** The position of the last message. */
  readonly lastEventId: string;
  /** Call `listener` with the data of each message of a type. Returns a function that ends it. */
  on<Type extends TypeOf<Events>>(
    type: Type,
    listener: (data: Events[Type], message: Message<Events[Type], Type>) => unknown,
  ): () => void;
  close(): void;
}
