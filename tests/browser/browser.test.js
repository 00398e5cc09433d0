"use strict";
// The link's page in a real browser, against the real broker, worker and stand-in API. Wants B (where the programs
// are), NODE_PATH (where playwright-core and axe-core are); SHOTS says where pictures go (B/browser). Prints TAP.
//
// Nothing here sleeps or measures: each step waits for what it is about.
const { spawn, spawnSync } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");
const zlib = require("node:zlib");
const { chromium } = require("playwright-core");

const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const B = path.resolve(process.env.B || "build");
const SHOTS = path.resolve(process.env.SHOTS || path.join(B, "browser"));
const PATIENCE = 60000;
const PHONE = { width: 360, height: 740 };
const DESK = { width: 1280, height: 900 };

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "raincheck-browser-"));
const children = [];
let broker, server, base, browser;

function fail(text) {
	throw new Error(text);
}

function equal(got, expected, what) {
	if (got !== expected) fail(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(expected)}`);
}

// ---- programs ----

// Starts one and waits for its line "ready …".
function start(program, args, env = {}) {
	const log = fs.openSync(path.join(folder, `${path.basename(program)}.log`), "a");
	const child = spawn(path.join(B, program), args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", log] });

	children.push(child);
	return new Promise((done, refuse) => {
		child.once("error", refuse);
		child.once("exit", (code) => refuse(new Error(`${program} ended with ${code}`)));
		readline.createInterface({ input: child.stdout }).on("line", (line) => {
			if (line.startsWith("ready")) done({ child, line });
		});
	});
}

function end(child, signal = "SIGTERM") {
	return new Promise((done) => {
		if (child.exitCode !== null || child.signalCode !== null) return done();
		child.removeAllListeners("exit");
		child.once("exit", done);
		child.kill(signal);
	});
}

function raincheck(...args) {
	const result = spawnSync(path.join(B, "raincheck"), ["--server", server, ...args], { encoding: "utf8" });

	if (result.status !== 0) fail(`raincheck ${args.join(" ")}: ${result.stderr}`);
	return result.stdout;
}

function put(behave, ...settings) {
	const data = JSON.stringify({ name: "Ada", colour: "#c2185b", behave });
	const args = ["title=A greeting for Ada", "content_type=application/json", "max_attempts=1", ...settings];
	const line = raincheck("put", "-q", "films", ...args.flatMap((a) => ["--set", a]), "--data", data);
	const [id, link] = line.trim().split(/\s+/);

	return { id, link };
}

// Between the worker and the API: lets two questions about a render pass, and holds the others until release(), so that
// a job runs for as long as a test looks at it.
function makeGate() {
	let left = Infinity, waiting = [], target;
	const server = http.createServer((request, response) => {
		const pass = () => {
			const to = http.request(target + request.url, { method: request.method, headers: request.headers });

			to.on("response", (from) => {
				response.writeHead(from.statusCode, from.headers);
				from.pipe(response);
			});
			to.on("error", () => response.destroy());
			request.pipe(to);
		};

		if (!request.url.startsWith("/v1/renders/") || left-- > 0) pass();
		else waiting.push(pass);
	});

	return new Promise((done) => {
		server.listen(0, "127.0.0.1", () => done({
			url: `http://127.0.0.1:${server.address().port}`,
			to(url) { target = url; },
			hold() { left = 2; },
			release() {
				left = Infinity;
				waiting.splice(0).forEach((pass) => pass());
			},
			close() {
				server.closeAllConnections();
				server.close();
			},
		}));
	});
}

function startBroker(address) {
	return start("raincheckd", ["--data", path.join(folder, "data"), "--listen", "127.0.0.1:0", "--http", address,
		"--log-level", "warning"]);
}

async function startAll() {
	const gate = await makeGate();
	const api = await start("render-api", ["--dir", folder, "--fake", "--delay-ms", "300", "--public-url", gate.url]);

	gate.to(`http://${/http=(\S+)/.exec(api.line)[1]}`);
	broker = await startBroker("127.0.0.1:0");
	server = /rpc=(\S+)/.exec(broker.line)[1];
	base = `http://${/http=(\S+)/.exec(broker.line)[1]}`;
	raincheck("queue", "set", "films", "max_jobs=1000");
	fs.writeFileSync(path.join(folder, "worker.yaml"), `
queues: { films: api }
upstreams:
  api:
    base_url: "${gate.url}"
    mode: poll
    allow_private: true
    submit: { method: POST, path: /v1/renders, ok: [201], id: /id, on_unknown: retry }
    poll:
      path: /v1/renders/{id}
      first: 50ms
      interval: 50ms
      max: 200ms
      state: /status
      pending: [PENDING, RUNNING]
      ok: [SUCCEEDED]
      failed: [FAILED, CANCELLED]
      progress: /progress
    result: { from: pointer, media: /output/0, preview: /poster, types: [video/mp4, image/*] }
    error: { message: /failure, code: /failureCode }
`);
	return gate;
}

function startWorker() {
	const log = fs.openSync(path.join(folder, "raincheck-worker.log"), "a");
	const child = spawn(path.join(B, "raincheck-worker"), ["--server", server, "--config",
		path.join(folder, "worker.yaml"), "--log-level", "warning"], { stdio: ["ignore", "ignore", log] });

	children.push(child);
	return child;
}

function crc32(bytes) {
	let crc = ~0;

	for (const byte of bytes) {
		crc ^= byte;
		for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc >>> 0;
}

// A picture of one grey, as a PNG.
function picture(width, height) {
	const chunk = (type, data) => {
		const body = Buffer.concat([Buffer.from(type), data]), ends = Buffer.alloc(8);

		ends.writeUInt32BE(data.length, 0);
		ends.writeUInt32BE(crc32(body), 4);
		return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
	};
	const size = Buffer.alloc(13), rows = Buffer.alloc((width + 1) * height, 96);

	for (let y = 0; y < height; y++) rows[y * (width + 1)] = 0; // unfiltered

	size.writeUInt32BE(width, 0);
	size.writeUInt32BE(height, 4);
	size[8] = 8;
	return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", size),
		chunk("IDAT", zlib.deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

// ---- pages ----

// A page whose every request, console line and shift of the layout is looked at.
async function open(link, options = {}) {
	const context = await browser.newContext({ viewport: PHONE, ...options });
	const page = await context.newPage();

	page.setDefaultTimeout(PATIENCE);
	page.strangers = [];
	page.complaints = [];
	page.refused = [];
	page.on("response", (r) => r.status() >= 400 && page.refused.push(`${r.status()} ${r.url()}`));
	page.on("request", (r) => r.url().startsWith(base) || r.url().startsWith("data:") || page.strangers.push(r.url()));
	page.on("pageerror", (e) => page.complaints.push(String(e)));
	page.on("console", (m) => m.type() === "error" && !/Failed to load resource|ERR_/.test(m.text()) &&
		page.complaints.push(m.text()));
	await page.addInitScript(() => {
		window.shifts = [];
		new PerformanceObserver((list) => {
			for (const e of list.getEntries())
				if (!e.hadRecentInput) window.shifts.push(e.value);
		}).observe({ type: "layout-shift", buffered: true });
	});
	await page.goto(link);
	return page;
}

async function close(page) {
	equal(page.strangers.join(), "", "requests to others");
	equal(page.complaints.join("\n"), "", "complaints of the browser");
	await page.context().close();
}

async function shows(page, words) {
	await page.waitForFunction((w) => document.body.innerText.includes(w), words);
}

async function accessible(page, name) {
	await page.evaluate(AXE);
	const found = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));

	if (found.violations.length > 0)
		fail(`axe, ${name}: ${found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(" ")}`).join("\n")}`);
}

// In both colour schemes and both sizes.
async function look(page, name) {
	for (const scheme of ["light", "dark"]) {
		await page.emulateMedia({ colorScheme: scheme });
		await accessible(page, `${name}, ${scheme}`);
		for (const [size, viewport] of [["phone", PHONE], ["desk", DESK]]) {
			await page.setViewportSize(viewport);
			const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

			if (wide > 0) fail(`${name}, ${size}: the page is ${wide} px wider than the window`);
			await page.screenshot({ path: path.join(SHOTS, `${name}-${scheme}-${size}.png`) });
		}
		await page.setViewportSize(PHONE);
	}
	await page.emulateMedia({ colorScheme: "light" });
}

const plays = (page) => page.waitForFunction(() => {
	const v = document.querySelector("#media video");

	return v && v.currentTime > 0.2 && v.videoWidth > 0;
});

// ---- tests ----

const tests = {
	async "from the line to the playing video without a reload"(gate) {
		raincheck("queue", "pause", "films");
		const job = put({});
		const page = await open(job.link);

		await page.evaluate(() => { window.mark = 1; });
		await shows(page, "You are next in line");
		await look(page, "pending");
		await page.evaluate(() => { window.shifts.length = 0; });
		gate.hold();
		raincheck("queue", "resume", "films");
		await shows(page, "Being made right now");
		await page.waitForFunction(() => {
			const still = document.querySelector("#media img");

			return still && still.naturalWidth > 0;
		});
		await page.waitForFunction(() => document.getElementById("bar").value > 0);
		await look(page, "running");
		await page.evaluate(() => { window.shifts.length = 0; });
		gate.release();
		await shows(page, "It is ready");
		await plays(page);
		equal(await page.evaluate(() => window.mark), 1, "the page was loaded once");
		const moved = await page.evaluate(() => window.shifts.reduce((a, b) => a + b, 0));

		if (moved > 0.05) fail(`the layout moved by ${moved}`);
		if (!(await page.title()).startsWith("It is ready")) fail(`the title is ${await page.title()}`);
		equal(await page.locator("#hint").count(), 0, "hints about coming back");
		await look(page, "done");
		const download = page.waitForEvent("download");

		await page.locator("a[download]").click();
		equal((await download).suggestedFilename(), "A greeting for Ada.mp4", "the name of the download");
		equal(page.refused.join(), "", "what the page asks for and is not there");
		await close(page);
	},

	async "a still that comes with the put is there at once, in its own shape"() {
		const form = new FormData();

		raincheck("queue", "pause", "films");
		form.set("payload", new Blob(["{}"], { type: "application/json" }));
		form.set("preview", new Blob([picture(9, 16)]), "still.png");
		form.set("title", "Für Ada");
		const answer = await fetch(`${base}/v1/queues/films/jobs`, { method: "POST", body: form });

		equal(answer.status, 202, "status of the put");
		const job = await answer.json();
		const page = await open(job.link);

		await page.waitForFunction(() => document.querySelector("#media img")?.naturalWidth === 9);
		for (const viewport of [PHONE, DESK]) {
			await page.setViewportSize(viewport);
			// Beside an upright picture there is little, and below it the button is in sight.
			const [box, button] = await page.evaluate(() => ["media", "share"].map((id) => {
				const r = document.getElementById(id).getBoundingClientRect();

				return { width: r.width, height: r.height, bottom: r.bottom };
			}));

			if (box.height < box.width) fail(`the box is ${box.width} by ${box.height}`);
			if (button.bottom > viewport.height) fail(`the button ends at ${button.bottom}`);
		}
		await page.setViewportSize(PHONE);
		await page.reload();
		await page.waitForFunction(() => document.querySelector("#media img")?.naturalWidth === 9);
		await shows(page, "You are next in line");
		equal(await page.evaluate(() => window.shifts.reduce((a, b) => a + b, 0)), 0, "shifts of the layout");
		equal(page.refused.join(), "", "what the page asks for and is not there");
		await look(page, "upright");
		raincheck("cancel", job.id);
		raincheck("queue", "resume", "films");
		await close(page);
	},

	async "in the system's own colours there are buttons and a bar"() {
		raincheck("queue", "pause", "films");
		const job = put({});
		const page = await open(job.link, { forcedColors: "active" });
		const border = (id) => page.evaluate((i) => getComputedStyle(document.getElementById(i)).borderTopWidth, id);

		await shows(page, "You are next in line");
		equal(await border("share"), "1px", "the border of a button");
		equal(await border("bar"), "1px", "the border of the bar");
		await accessible(page, "the system's own colours");
		await page.screenshot({ path: path.join(SHOTS, "forced-colours.png") });
		raincheck("cancel", job.id);
		raincheck("queue", "resume", "films");
		await close(page);
	},

	async "without a script the page says it and looks again by itself"() {
		raincheck("queue", "pause", "films");
		const job = put({});
		const page = await open(job.link, { javaScriptEnabled: false });

		equal(await page.locator("#headline").innerText(), "You are next in line", "headline");
		equal(await page.locator("#share").isVisible(), false, "a button that does nothing is shown");
		raincheck("cancel", job.id);
		await page.locator("text=It was canceled").waitFor();
		raincheck("queue", "resume", "films");
		await page.context().close();
	},

	async "the script comes once, and a page that cannot get it looks again by itself"() {
		raincheck("queue", "pause", "films");
		const job = put({});
		const page = await open(job.link);
		const script = await page.locator("script[src]").evaluate((e) => e.src);

		await shows(page, "You are next in line");
		// As the browser sees it: a second look costs no second script.
		await page.reload();
		await shows(page, "You are next in line");
		equal(await page.evaluate((s) => performance.getEntriesByName(s)[0].transferSize, script), 0,
			"bytes of the script that were transferred again");
		await close(page);

		const context = await browser.newContext();
		const broken = await context.newPage();

		broken.setDefaultTimeout(PATIENCE);
		await broken.clock.install();
		await broken.route("**/page.js*", (route) => route.abort());
		await broken.goto(job.link);
		await shows(broken, "You are next in line");
		raincheck("cancel", job.id);
		// What is there is not given up for the browser's own word that it is offline.
		await context.setOffline(true);
		await broken.clock.runFor(60000);
		await shows(broken, "You are next in line");
		await context.setOffline(false);
		await broken.clock.runFor(60000);
		await shows(broken, "It was canceled");
		await context.close();
		raincheck("queue", "resume", "films");
	},

	async "offline and back"() {
		raincheck("queue", "pause", "films");
		const job = put({});
		const page = await open(job.link);

		await shows(page, "You are next in line");
		await page.context().setOffline(true);
		await shows(page, "You are offline");
		raincheck("cancel", job.id);
		await page.context().setOffline(false);
		await shows(page, "It was canceled");
		raincheck("queue", "resume", "films");
		await close(page);
	},

	async "a broker that was killed and started again"() {
		raincheck("queue", "pause", "films");
		const job = put({});
		const page = await open(job.link);

		await shows(page, "You are next in line");
		await end(broker.child, "SIGKILL");
		broker = await startBroker(base.slice("http://".length));
		server = /rpc=(\S+)/.exec(broker.line)[1];
		raincheck("cancel", job.id);
		await shows(page, "It was canceled");
		raincheck("queue", "resume", "films");
		await close(page);
	},

	async "failed, expired and unknown links are told kindly"() {
		const worker = startWorker();
		const failed = put({ fail: "no face found" }), erased = put({});
		const page = await open(failed.link);

		await shows(page, "it could not be made");
		equal((await page.content()).includes("no face found"), false, "the API's own words are shown");
		await look(page, "failed");
		await page.reload();
		await look(page, "failed");
		await end(worker);
		raincheck("erase", erased.id, "--yes");
		equal((await page.goto(erased.link)).status(), 410, "status");
		await look(page, "expired");
		equal((await page.goto(`${base}/r/nothing`)).status(), 404, "status");
		await look(page, "unknown");
		await close(page);
	},

	async "a link that is withdrawn while somebody looks"() {
		raincheck("queue", "pause", "films");
		const job = put({});
		const page = await open(job.link);

		await shows(page, "You are next in line");
		raincheck("link", job.id, "--revoke");
		await shows(page, "There is nothing here");
		await accessible(page, "withdrawn");
		raincheck("cancel", job.id);
		raincheck("queue", "resume", "films");
		await close(page);
	},

	async "sharing copies the link where the browser cannot share"() {
		const job = put({});
		const page = await open(job.link, { permissions: ["clipboard-read", "clipboard-write"] });

		await page.evaluate(() => { delete Navigator.prototype.share; });
		await page.locator("#share").click();
		await shows(page, "The link is copied");
		equal(await page.evaluate(() => navigator.clipboard.readText()), job.link, "what was copied");
		await close(page);
	},
};

async function run() {
	const names = Object.keys(tests);
	const gate = await startAll();
	let failures = 0, worker;

	fs.mkdirSync(SHOTS, { recursive: true });
	// As root Chromium has no sandbox to be had.
	browser = await chromium.launch({ executablePath: "/usr/bin/chromium",
		args: [...(process.getuid() === 0 ? ["--no-sandbox"] : []), "--disable-gpu", "--disable-dev-shm-usage"] });
	console.log(`1..${names.length}`);
	for (const [i, name] of names.entries()) {
		worker = i === 0 ? startWorker() : worker;
		try {
			await tests[name](gate);
			console.log(`ok ${i + 1} - ${name} # ${Math.round(performance.now() / 1000)} s`);
		} catch (e) {
			failures++;
			console.log(`not ok ${i + 1} - ${name}\n${String(e.stack || e).replace(/^/gm, "# ")}`);
		}
		if (i === 0) await end(worker);
	}
	await browser.close();
	gate.close();
	return failures;
}

async function finish(status) {
	for (const child of children.reverse()) await end(child);
	if (status !== 0)
		for (const name of fs.readdirSync(folder).filter((n) => n.endsWith(".log")))
			process.stdout.write(fs.readFileSync(path.join(folder, name), "utf8").replace(/^/gm, `# ${name}: `));
	fs.rmSync(folder, { recursive: true, force: true });
	process.exit(status);
}

run().then((failures) => finish(failures ? 1 : 0), (e) => {
	console.log(`Bail out! ${e.stack}`);
	finish(1);
});
