using System;
using System.Linq;
using System.Net.WebSockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

/// Mono's System.Net.WebSockets (.NET's own client) against the server at ADDRESS:PORT.
static class Client {
    static readonly CancellationToken patience = new CancellationTokenSource(TimeSpan.FromSeconds(60)).Token;

    static async Task<ClientWebSocket> Dial(string address) {
        var ws = new ClientWebSocket();
        ws.Options.AddSubProtocol("chat");
        await ws.ConnectAsync(new Uri("ws://" + address + "/echo"), patience);
        return ws;
    }

    static async Task Echo(ClientWebSocket ws, WebSocketMessageType type, int size) {
        var message = Enumerable.Repeat((byte) 'x', size).ToArray();
        await ws.SendAsync(new ArraySegment<byte>(message), type, true, patience);
        var buffer = new byte[size + 1];
        for (int at = 0;;) {
            var got = await ws.ReceiveAsync(new ArraySegment<byte>(buffer, at, buffer.Length - at), patience);
            at += got.Count;
            if (!got.EndOfMessage) continue;
            if (got.MessageType == type && buffer.Take(at).SequenceEqual(message)) return;
            throw new Exception("another echo of " + size);
        }
    }

    static async Task Run(string address) {
        var ws = await Dial(address);
        foreach (var size in new[] { 0, 1, 125, 126, 65535, 65536, 1 << 20 }) {
            await Echo(ws, WebSocketMessageType.Text, size);
            await Echo(ws, WebSocketMessageType.Binary, size);
        }
        await ws.CloseAsync((WebSocketCloseStatus) 4000, "so long", patience);
        var quit = await Dial(address);
        await quit.SendAsync(new ArraySegment<byte>(Encoding.ASCII.GetBytes("quit")), WebSocketMessageType.Text, true, patience);
        await quit.ReceiveAsync(new ArraySegment<byte>(new byte[16]), patience);
        string closes = (int) ws.CloseStatus + ", " + (int) quit.CloseStatus;
        if (closes != "4000, 1000") throw new Exception("close codes " + closes);
        var runtime = Type.GetType("Mono.Runtime").GetMethod("GetDisplayName", System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Static);
        string version = ((string) runtime.Invoke(null, null)).Split(' ')[0];
        Console.WriteLine(string.Join("\t", "Mono ClientWebSocket", version, "13", "no", ws.SubProtocol, "close codes " + closes));
    }

    static int Main(string[] args) {
        try { Run(args[0]).Wait(); return 0; }
        catch (Exception error) { Console.Error.WriteLine(error); return 1; }
    }
}
