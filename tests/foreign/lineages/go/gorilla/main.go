// gorilla/websocket against the echo at URL; in TLS by Go's crypto/tls, with the authority in $SSL_CERT_FILE. usage: gorilla URL
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/gorilla/websocket"
)

var version = "unknown" // of the package, said by the linker

func dial() (*websocket.Conn, string) {
	dialer := websocket.Dialer{Subprotocols: []string{"chat"}, EnableCompression: true}
	conn, response, err := dialer.Dial(os.Args[1], nil)
	if err != nil {
		log.Fatal(err)
	}
	return conn, response.Header.Get("Sec-WebSocket-Extensions")
}

func closed(conn *websocket.Conn, code int) {
	_, message, err := conn.ReadMessage()
	if !websocket.IsCloseError(err, code) {
		log.Fatalf("no Close %d but %q, %v", code, message, err)
	}
}

func main() {
	conn, extensions := dial()
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			message := []byte(strings.Repeat("x", size))
			if err := conn.WriteMessage(kind, message); err != nil {
				log.Fatal(err)
			}
			if back, echo, err := conn.ReadMessage(); err != nil || back != kind || !bytes.Equal(echo, message) {
				log.Fatalf("echo of %d bytes: kind %d, %d bytes, %v", size, back, len(echo), err)
			}
		}
	}
	conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "so long"))
	closed(conn, 4000)
	quit, _ := dial()
	quit.WriteMessage(websocket.TextMessage, []byte("quit")) // compressed, in Go's form
	closed(quit, 1000)
	deflate := "no"
	if strings.Contains(extensions, "permessage-deflate") {
		deflate = "yes"
	}
	fmt.Printf("Go gorilla/websocket\t%s\t13\t%s\t%s\tclose codes 4000, 1000\n", version, deflate, conn.Subprotocol())
}
