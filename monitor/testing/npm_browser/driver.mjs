// Drives a headless Chromium for monitor.testing.browser: a JSON command a line in, a JSON answer a line out.
// Arguments: node_modules, and a directory for what is unpacked.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [modules, unpacked] = process.argv.slice(2);
const required = createRequire(join(modules, "from-here.js"));
const { inflate } = await import(pathToFileURL(join(modules, "@sparticuz/chromium/build/lambdafs.js")));
process.env.TMPDIR = unpacked;
const packed = ["chromium.br", "fonts.tar.br", "al2023.tar.br"];
const bin = join(modules, "@sparticuz/chromium/bin");
const [executablePath, fonts, libraries] = await Promise.all(packed.map((name) => inflate(join(bin, name))));
const fontsFile = join(unpacked, "fonts.conf");
writeFileSync(fontsFile, `<?xml version="1.0"?><fontconfig><dir>${fonts}</dir><cachedir>${join(unpacked, "font-cache")}</cachedir>
<alias><family>system-ui</family><prefer><family>Open Sans</family></prefer></alias></fontconfig>`);
const axe = readFileSync(required.resolve("axe-core/axe.min.js"), "utf8");

const browser = await required("playwright-core").chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage", "--headless=shell"],
  env: { ...process.env, LD_LIBRARY_PATH: join(libraries, "lib"), FONTCONFIG_FILE: fontsFile },
});
let page;
let wrong = [];

const commands = {
  async open({ width = 1280, height = 900, scheme = "light", scripts = true }) {
    await page?.context().close();
    const context = await browser.newContext({
      viewport: { width, height }, colorScheme: scheme, javaScriptEnabled: scripts, reducedMotion: "reduce",
    });
    page = await context.newPage();
    page.setDefaultTimeout(15000);
    wrong = [];
    page.on("console", (message) => { if (message.type() === "error") wrong.push(message.text()); });
    page.on("pageerror", (error) => wrong.push(String(error)));
  },
  async goto({ url }) { return (await page.goto(url, { waitUntil: "load" })).status(); },
  async text({ selector }) { return await page.locator(selector).first().innerText(); },
  async texts({ selector }) { return await page.locator(selector).allInnerTexts(); },
  async links() { return await page.locator("a[href]").evaluateAll((all) => all.map((one) => one.href)); },
  async click({ selector }) { await page.locator(selector).first().click(); await page.waitForLoadState("load"); },
  async fill({ selector, value }) { await page.locator(selector).first().fill(value); },
  async press({ keys }) { for (const key of keys) await page.keyboard.press(key); },
  async run({ code }) { return await page.evaluate(code); },
  async until({ code, within_ms }) {
    // asked again and again from outside: a page with a policy evaluates no text by itself
    const end = Date.now() + within_ms;
    while (!(await page.evaluate(code))) {
      if (Date.now() > end) throw new Error(`not within ${within_ms} ms: ${code}`);
      await new Promise((done) => { setTimeout(done, 20); });
    }
  },
  async shot({ path }) { await page.screenshot({ path, fullPage: true }); },
  async url() { return page.url(); },
  async wrong() { return wrong; },
  async axe() {
    // past the page's policy, which lets nobody add a script to it
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"], preload: false }));
    return found.violations.map(({ id, impact, nodes }) => ({ id, impact, where: nodes.map((one) => one.html).slice(0, 3) }));
  },
};

process.stdout.write(`${JSON.stringify({ version: browser.version() })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  try {
    process.stdout.write(`${JSON.stringify({ answer: (await commands[command](given)) ?? null })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: String(error).slice(0, 2000) })}\n`);
  }
}
await browser.close();
