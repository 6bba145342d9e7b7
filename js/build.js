// `node build.js [OUT]` builds the package's files, `node build.js static [OUT]` the one file that
// Django serves without a build.

import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { version } = JSON.parse(readFileSync(here("package.json")));
const STATIC = here("../eric_sse_django/static/eric_sse_django/eric-sse.js");
const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  absWorkingDir: here("."),
  banner: { js: `/* eric-sse ${version}, MIT license, from js/src of eric_sse_django */` },
};

async function buildStatic(outfile = STATIC) {
  // Without a source map: storages would look for the file that its comment names.
  await build({ ...common, entryPoints: ["src/index.ts"], outfile, minify: true });
}

async function buildPackage(outdir = here("dist")) {
  rmSync(outdir, { recursive: true, force: true });
  const compiler = here("../node_modules/typescript/bin/tsc");
  const options = [compiler, "-p", here("."), "--outDir", outdir];
  execFileSync(process.execPath, options, { stdio: "inherit" });
  // Each file once: the others import it.
  const layers = [["index"], ["store"], ["react", "vue", "svelte"]];
  const external = ["./index.js", "./store.js", "react", "vue", "svelte"];
  for (const names of layers) {
    const entryPoints = names.map((name) => `src/${name}.ts`);
    await build({ ...common, entryPoints, outdir, external });
  }
}

const [what, out] = process.argv.slice(2);
await (what === "static" ? buildStatic(out) : buildPackage(what));
