import { createApp, defineComponent } from "vue";
import { useRun } from "eric-sse/vue";
import { type Result, shown } from "./run.js";

const Answer = defineComponent(() => {
  const { value, state } = useRun<Result>(() => window.url);
  return () => shown(value.value, state.value);
});

createApp(Answer).mount("#root");
