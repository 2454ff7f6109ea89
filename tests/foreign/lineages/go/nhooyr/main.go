// nhooyr.io/websocket against the server at ADDRESS:PORT. usage: nhooyr ADDRESS:PORT
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"nhooyr.io/websocket"
)

var version = "unknown" // of the package, said by the linker

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dial := func() (*websocket.Conn, string) {
		options := websocket.DialOptions{Subprotocols: []string{"chat"}, CompressionMode: websocket.CompressionContextTakeover}
		conn, response, err := websocket.Dial(ctx, "ws://"+os.Args[1]+"/echo", &options)
		if err != nil {
			log.Fatal(err)
		}
		conn.SetReadLimit(1 << 22)
		return conn, response.Header.Get("Sec-WebSocket-Extensions")
	}
	conn, extensions := dial()
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
			message := []byte(strings.Repeat("x", size))
			if err := conn.Write(ctx, kind, message); err != nil {
				log.Fatal(err)
			}
			if back, echo, err := conn.Read(ctx); err != nil || back != kind || !bytes.Equal(echo, message) {
				log.Fatalf("echo of %d bytes: %v, %d bytes, %v", size, back, len(echo), err)
			}
		}
	}
	if err := conn.Close(4000, "so long"); err != nil {
		log.Fatal("our own Close: ", err)
	}
	quit, _ := dial()
	quit.Write(ctx, websocket.MessageText, []byte("quit"))
	if _, _, err := quit.Read(ctx); websocket.CloseStatus(err) != 1000 {
		log.Fatal("after quit: ", err)
	}
	deflate := "no"
	if strings.Contains(extensions, "permessage-deflate") {
		deflate = "yes"
	}
	fmt.Printf("Go nhooyr.io/websocket\t%s\t13\t%s\t%s\tclose codes 4000, 1000\n", version, deflate, conn.Subprotocol())
}
