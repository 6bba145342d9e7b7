// `node tests/apps/build.js OUT` bundles the apps with the package as users get it.

import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { compile } from "svelte/compiler";
import { compileScript, parse } from "vue/compiler-sfc";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = process.argv[2];
const dist = `${out}/dist`;
execFileSync(process.execPath, [here("../../build.js"), dist], { stdio: "inherit" });

const svelte = {
  name: "svelte",
  setup({ onLoad }) {
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => {
      const { js } = compile(await readFile(path, "utf8"), { generate: "client", dev: true });
      return { contents: js.code, loader: "js" };
    });
  },
};

// Single-file components of Vue, with their template.
const vue = {
  name: "vue",
  setup({ onLoad }) {
    onLoad({ filter: /\.vue$/ }, async ({ path }) => {
      const { descriptor } = parse(await readFile(path, "utf8"), { filename: path });
      const { content } = compileScript(descriptor, { id: "docs", inlineTemplate: true });
      return { contents: content, loader: "ts" };
    });
  },
};

// The components that the documentation shows, as files beside the apps that mount them.
const docs = await readFile(here("../../../docs/browser.md"), "utf8");
await mkdir(`${out}/docs`);
for (const language of ["tsx", "vue", "svelte"]) {
  const block = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, "m").exec(docs)[1];
  await writeFile(`${out}/docs/Orders.${language}`, block);
}
const apps = ["plain.ts", "react.tsx", "vue.ts", "svelte.ts"];
const names = [...apps, ...apps.map((name) => `run_${name}`)];
const shown = ["shown_react.js", "shown_vue.js", "shown_svelte.js"];

await build({
  entryPoints: [...names, ...shown].map((name) => here(name)),
  bundle: true,
  format: "esm",
  outdir: out,
  jsx: "automatic",
  conditions: ["browser"],
  nodePaths: [here("../../../node_modules")],
  alias: {
    docs: `${out}/docs`,
    ...Object.fromEntries(
      ["store", "react", "vue", "svelte"].map((name) => [`eric-sse/${name}`, `${dist}/${name}.js`]),
    ),
  },
  define: {
    "process.env.NODE_ENV": '"development"',
    __VUE_OPTIONS_API__: "true",
    __VUE_PROD_DEVTOOLS__: "false",
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
  },
  plugins: [svelte, vue],
});
