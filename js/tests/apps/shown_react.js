import { createElement } from "react";
import { createRoot } from "react-dom/client";
import { Orders } from "docs/Orders.tsx";

const orders = [{ id: 1, total: "1.00" }];
createRoot(document.querySelector("#root")).render(createElement(Orders, { orders }));
