import { mount, unmount } from "svelte";
import Orders from "./Orders.svelte";

const target = document.querySelector("#root")!;
let orders: object | null = mount(Orders, { target });
document.querySelector("#toggle")!.addEventListener("click", async () => {
  if (orders) await unmount(orders);
  orders = orders ? null : mount(Orders, { target });
});
