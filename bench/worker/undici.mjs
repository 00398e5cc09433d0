// The calls of P9 as Node.js makes them with undici:   node undici.mjs MODULES API CALLS AT_ONCE
//
// Only the calls: no queue, no lease, no result that is kept anywhere; undici's own fastest way (request, one agent, a
// connection a call, kept alive). The request is the worker's; the answer is read whole. Prints how many were not right.
import { createRequire } from 'node:module';

const [modules, api, calls, atOnce] = [process.argv[2], process.argv[3], +process.argv[4], +process.argv[5]];
const { Agent, request } = createRequire(modules + '/')('undici');
const dispatcher = new Agent({ connections: atOnce, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
const body = JSON.stringify({ name: 'Ada', colour: '#c2185b' });
let begun = 0;
let wrong = 0;

async function place() {
	while (begun < calls) {
		const answer = await request(`${api}/render`, {
			dispatcher, method: 'POST', body,
			headers: { 'content-type': 'application/json', 'idempotency-key': String(begun++) },
		});
		const bytes = await answer.body.arrayBuffer();
		if (answer.statusCode !== 200 || bytes.byteLength !== 32)
			wrong++;
	}
}

await Promise.all(Array.from({ length: atOnce }, place));
console.log(wrong);
await dispatcher.close();
