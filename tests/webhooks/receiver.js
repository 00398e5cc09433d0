// A receiver of webhooks that others wrote the proof of: each request is checked by the npm package standardwebhooks
// with each secret by itself. Usage: node receiver.js SECRET…   The first line is the port; then a line of JSON for each
// request: path, id, type, by (which secrets prove it), headers, body.
//
// /N/A,B,… answers the first request of a webhook's id with A, the next with B, the last again and again: a status, or
// "hold" for no answer at all. A status may have a header behind it: 503;retry-after:3600
import http from "node:http";
import { Webhook } from "standardwebhooks";

const proofs = process.argv.slice(2).map((secret) => new Webhook(secret));
const seen = new Map();

function isProved(proof, body, headers) {
	try {
		proof.verify(body, headers);
		return true;
	} catch {
		return false;
	}
}

const server = http.createServer((request, response) => {
	const pieces = [];
	request.on("data", (piece) => pieces.push(piece));
	request.on("end", () => {
		const body = Buffer.concat(pieces).toString();
		const id = request.headers["webhook-id"];
		const count = seen.get(id) ?? 0;
		const answers = decodeURIComponent(request.url).split("/").pop().split(",");
		const [answer, ...more] = answers[Math.min(count, answers.length - 1)].split(";");
		seen.set(id, count + 1);
		console.log(JSON.stringify({
			path: request.url, method: request.method, id, headers: request.headers, body,
			by: proofs.map((proof) => isProved(proof, body, request.headers)),
		}));
		if (answer === "hold")
			return;
		const headers = Object.fromEntries(more.map((line) => line.split(/:(.*)/s)));
		response.writeHead(Number(answer), headers);
		response.end("x".repeat(answer === "200" ? 1 << 20 : 10));
	});
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
