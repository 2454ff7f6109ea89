// What a WebSocket of the standard (https://websockets.spec.whatwg.org) shows of a case; runs in a page and in Node alike.
'use strict';

/** Milliseconds until a handshake is given up, and in which an open connection shows what it has to show. */
const PATIENCE = 5000;

async function attempt(WebSocket, base, one, tell) {
  const seen = [], started = Date.now();
  let opened = false, messages = 0, sizes = '';
  const late = () => (one.late ? (Date.now() - started >= 0.95 * one.late ? ' late' : ' too early') : '');
  const flush = () => {
    if (messages > 3) seen.push(`${messages} messages${sizes}`);
    messages = 0;
  };
  await new Promise((resolve) => {
    let socket;
    const stop = setTimeout(() => {
      flush();
      seen.push(!opened ? 'no answer' : ['', 'open', 'still closing'][socket.readyState]);
      socket.close();
      resolve();
    }, PATIENCE);
    const end = (text) => {
      clearTimeout(stop);
      flush();
      seen.push(text);
      seen.over = true;
      resolve();
    };
    try {
      socket = new WebSocket((one.user ? base.replace('//', `//${one.user}@`) : base) + one.path, one.protocols || []);
    } catch (error) {
      return end(`refused: ${error.message.split('\n')[0]}`);
    }
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      opened = true;
      if (one.show === 'protocol') seen.push(`subprotocol ${socket.protocol || 'none'}`);
      if (one.show === 'extensions') seen.push(socket.extensions || 'no extension');
      if (one.show === 'cookie' && tell) tell(seen);
      for (const text of one.say || []) socket.send(text);
      if (one.until === 0) socket.close(1000);
    };
    socket.onmessage = ({ data }) => {
      if (socket.readyState > 1) return;
      messages += 1;
      sizes = ` of ${data.byteLength} bytes`;
      if (one.show === 'offer') seen.push(`offers ${JSON.parse(data).extensions.offered.join(', ') || 'no extension'}`);
      else if (typeof data === 'string') seen.push(JSON.stringify(data) + late());
      if (messages === one.until) socket.close(1000);
    };
    let why = '';
    // In a page this tells nothing.
    socket.onerror = (event) => {
      why = (event.error && event.error.message) || event.message || '';
      // Not everybody tells of the end of what never began.
      if (!opened) setTimeout(() => seen.over || end(`failed${why ? `: ${why}` : ''}`), 500);
    };
    socket.onclose = ({ code, reason }) => {
      if (seen.over) return;
      const how = `${opened ? 'closed' : 'failed'} ${code}${reason ? ` "${reason}"` : ''}`;
      end(how + (seen.some((each) => each.includes('late')) ? '' : late()) + (why ? `: ${why}` : ''));
    };
  });
  return seen.filter((each) => each).join('; ');
}

if (typeof module !== 'undefined') module.exports = { attempt, PATIENCE };
