// `node build.js` builds the package's files, `node build.js static` the one file that Django
// serves without a build.

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

async function buildPackage() {
  rmSync(here("dist"), { recursive: true, force: true });
  const compiler = here("node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [compiler, "-p", here(".")], { stdio: "inherit" });
  await build({ ...common, entryPoints: ["src/index.ts"], outdir: "dist" });
}

await (process.argv[2] === "static" ? buildStatic(process.argv[3]) : buildPackage());
