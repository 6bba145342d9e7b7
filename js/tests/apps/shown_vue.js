import { createApp } from "vue";
import Orders from "docs/Orders.vue";

createApp(Orders, { orders: [{ id: 1, total: "1.00" }] }).mount("#root");
