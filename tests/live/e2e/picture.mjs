// The picture of docs/live.md: node picture.mjs URL FILE
import { createRequire } from "node:module";
const need = createRequire(`${process.env.SENSEDGE_NODE ?? import.meta.dirname}/`);
const { chromium } = need("playwright-core");
const [url, file] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage({ viewport: { width: 1000, height: 1060 } });
await page.goto(url);
await page.waitForFunction(() => document.querySelectorAll("#runs button").length > 4);
await page.locator("#runs button").nth(0).click();
await page.locator("#what").fill("downstairs");
await page.waitForFunction(() => document.getElementById("check").textContent.includes("The model said"));
await page.locator("#more").click();
await page.locator(".ask").first().waitFor();
await page.waitForTimeout(9000);
await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
await page.screenshot({ path: file });
await browser.close();
