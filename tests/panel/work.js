// SPDX-License-Identifier: MIT
// The panel's Node: a heap of objects, compiled code, buffers, a worker thread.
const { Worker, isMainThread, parentPort } = require('worker_threads');

function work() {
	const keep = [];
	for (let i = 0; i < 50000; i++)
		keep.push({ id: i, text: `item ${i}`, list: [i, i * 2] });
	let sum = 0;
	for (let round = 0; round < 50; round++)
		for (const item of keep)
			sum += item.id * item.list[1] % 7;
	keep.push(Buffer.alloc(4 << 20, 1));
	return [keep, sum];
}

const kept = work();
if (isMainThread) {
	new Worker(__filename).on('message', () => {
		console.log('ready');
		process.stdin.on('end', () => process.exit(kept[1] < 0 ? 1 : 0)).resume();
	});
} else {
	parentPort.postMessage('done');
	setInterval(() => kept.length, 1000);
}
