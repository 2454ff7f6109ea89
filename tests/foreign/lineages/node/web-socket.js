// The WebSocket of a JavaScript runtime (the standard of browsers) against the server at ADDRESS:PORT; runs in Node with
// undici, in Bun and in Deno. usage: web-socket.js ADDRESS:PORT
const address = globalThis.Deno ? Deno.args[0] : process.argv[2];
const fail = (text) => {
  console.error(text);
  if (globalThis.Deno) Deno.exit(1);
  process.exit(1);
};
const check = (what, got, want) => got === want || fail(`${what}: got ${String(got).slice(0, 200)}, expected ${String(want).slice(0, 200)}`);

async function main() {
  let [name, version, Socket] = ['', '', globalThis.WebSocket];
  if (globalThis.Deno) [name, version] = ['Deno', Deno.version.deno];
  else if (globalThis.Bun) [name, version] = ['Bun', Bun.version];
  else [name, version, Socket] = ['undici', require('undici/package.json').version, require('undici').WebSocket];
  const lengths = [1, 125, 126, 65535, 65536, 1 << 20];
  const messages = ['hello', 'κόσμε ✓ 😀', ...lengths.map((n) => 'é'.repeat(n >> 1) + 'x'.repeat(n & 1)),
    ...lengths.map((n) => Uint8Array.from({ length: n }, (_, i) => i * 31))];
  const talk = (messages, finish) =>
    new Promise((resolve) => {
      const ws = new Socket(`ws://${address}/echo`, ['chat']);
      const left = [...messages];
      ws.binaryType = 'arraybuffer';
      let agreed = [];
      ws.onopen = () => {
        agreed = [ws.protocol, ws.extensions];
        ws.send(left[0]);
      };
      ws.onmessage = ({ data }) => {
        const message = left.shift();
        const got = typeof data === 'string' ? data : new Uint8Array(data);
        check('type', typeof got, typeof message);
        check('size', got.length, message.length);
        check('echo', typeof got === 'string' ? got === message : got.every((byte, at) => byte === message[at]), true);
        if (left.length) ws.send(left[0]);
        else finish(ws);
      };
      ws.onerror = (event) => fail(`error: ${event.message ?? event.error}`);
      ws.onclose = ({ code, reason, wasClean }) => resolve([code, reason, wasClean, ...agreed]);
    });
  const [code, reason, clean, protocol, extensions] = await talk(messages, (ws) => ws.close(4000, 'so long'));
  check('our own Close', `${code} ${reason} ${clean}`, '4000 so long true');
  const quit = await talk(['quit'], () => {});
  check('after quit', `${quit[0]} ${quit[2]}`, '1000 true');
  console.log([name, version, '13', extensions.includes('deflate') ? 'yes' : 'no', protocol, 'close codes 4000, 1000, clean'].join('\t'));
  if (globalThis.Deno) Deno.exit(0);
  process.exit(0);
}
main();
