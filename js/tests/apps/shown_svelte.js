import { mount } from "svelte";
import Orders from "docs/Orders.svelte";

const orders = [{ id: 1, total: "1.00" }];
mount(Orders, { target: document.querySelector("#root"), props: { orders } });
