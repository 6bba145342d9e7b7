// What a user writes: it must compile, and the lines that are marked must not.

import { useRun } from "eric-sse/store";
import { connect, type AnyMessage, type Options, refetch, type State } from "eric-sse";

interface Order {
  id: number;
  total: string;
}
interface Events {
  paid: Order;
  cancelled: { id: number };
}

const options: Options<Events> = {
  types: ["paid", "cancelled"],
  onreset: ({ after, floor }) => console.log(after + floor),
  onstate: (state: State) => console.log(state),
  refresh: async () => (await fetch("/orders/stream/")).text(),
  share: "orders of ada",
  acknowledge: true,
};
const stream = connect<Events>("/events/orders/", options);

const end: () => void = stream.on("paid", (order, message) => {
  const total: string = order.total;
  const type: "paid" = message.type;
  console.log(total, type, message.id);
});
end();

// @ts-expect-error: no such type
stream.on("refunded", () => {});
// @ts-expect-error: an order has no such field
stream.on("paid", ({ sum }) => console.log(sum));
// @ts-expect-error: no such type
connect<Events>("/events/orders/", { types: ["refunded"] });
// @ts-expect-error: no such option
connect("/events/orders/", { onResets: "reload" });
// @ts-expect-error: no such way
connect("/events/orders/", { onreset: "reset" });
// @ts-expect-error: it is read only
stream.state = "live";

export async function follow(): Promise<void> {
  for await (const message of stream) {
    if (message.type === "paid") console.log(message.data.total);
    else if (message.type === "cancelled") console.log(message.data.id);
    else console.log(message.data.after);
  }
}

export function show(message: AnyMessage<Events>): number {
  switch (message.type) {
    case "paid":
    case "cancelled":
      return message.data.id;
    case "eric-reset":
      return message.data.floor;
  }
}

// Without a map of types, a message's data is unknown.
const untyped = connect(new URL("/events/orders/", location.href), { onreset: refetch("#orders") });
untyped.on("paid", (order) => console.log((order as Order).id));
// @ts-expect-error: unknown
untyped.on("paid", (order) => console.log(order.id));
connect("/events/log/", { parse: String, onreset: "reload", silence: 60, share: false });
const acknowledge = (position: number, { keepalive }: { keepalive: boolean }) =>
  console.log(position, keepalive);
connect("/events/orders/till-7/", { acknowledge });
untyped.close();

// A run with its result and its values.
const run = useRun<{ words: number }, { step: string }>("/events/runs/5d1c/", {
  onstate: (state) => console.log(state),
});
run.subscribe(() => {
  const { status, text, values, result, error, index, progress } = run.get().value;
  console.log(status === "lost", text.length, values[0]?.step, result?.words, error?.length);
  console.log(index + (progress?.done ?? 0));
  // @ts-expect-error: no status
  console.log(status === "ended");
  // @ts-expect-error: no such value
  console.log(values[0]?.name);
});
// @ts-expect-error: what is done after a message is known
useRun("/events/runs/5d1c/", { onmessage: console.log });
