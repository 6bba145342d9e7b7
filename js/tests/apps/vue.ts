import { createApp, defineComponent, h, ref } from "vue";
import { useStream } from "eric-sse/vue";
import { type Events, options } from "./orders.js";

const Orders = defineComponent(() => {
  const { value, state } = useStream<Events, readonly number[]>(window.url, options);
  return () => `${state.value}: ${value.value.join(" ")}`;
});

const isShown = ref(true);
const toggle = () => (isShown.value = !isShown.value);
document.querySelector("#toggle")!.addEventListener("click", toggle);
createApp(() => (isShown.value ? h(Orders) : "")).mount("#root");
