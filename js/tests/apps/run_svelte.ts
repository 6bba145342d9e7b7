import { mount } from "svelte";
import Answer from "./Answer.svelte";

mount(Answer, { target: document.querySelector("#root")! });
