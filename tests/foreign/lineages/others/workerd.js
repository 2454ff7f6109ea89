// A worker that holds the conversation of all clients here, as a test of workerd.
const lengths = [1, 125, 126, 65535, 65536, 1 << 20];
const messages = ['hello', ...lengths.map((n) => 'é'.repeat(n >> 1)), ...lengths.map((n) => new Uint8Array(n).fill(7))];

const talk = (address, messages) =>
  new Promise((resolve, reject) => {
    const ws = new WebSocket(`ws://${address}/echo`, ['chat']);
    const left = [...messages];
    ws.binaryType = 'arraybuffer';
    let agreed = [];
    ws.addEventListener('open', () => {
      agreed = [ws.protocol, ws.extensions];
      ws.send(left[0]);
    });
    ws.addEventListener('message', ({ data }) => {
      const message = left.shift();
      const same = typeof message === 'string' ? data === message
        : data.byteLength === message.length && new Uint8Array(data).every((byte) => byte === 7);
      if (!same) reject(new Error(`another echo of ${message.length}`));
      else if (left.length) ws.send(left[0]);
      else ws.close(4000, 'so long');
    });
    ws.addEventListener('error', ({ message }) => reject(new Error(message)));
    ws.addEventListener('close', ({ code }) => resolve([code, ...agreed]));
  });

export default {
  async test(_, { ADDRESS }) {
    const [code, protocol, extensions] = await talk(ADDRESS, messages);
    const [quit] = await talk(ADDRESS, ['quit']);
    if (`${code} ${quit}` !== '4000 1000') throw new Error(`close codes ${code}, ${quit}`);
    console.log(['agreed', extensions?.includes('deflate') ? 'yes' : 'no', protocol].join(' '));
  },
};
