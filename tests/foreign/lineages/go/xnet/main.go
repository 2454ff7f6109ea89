// golang.org/x/net/websocket against the server at ADDRESS:PORT. It hands out every fragment as a message of its own, so
// text must come back in the one frame that it was. usage: xnet ADDRESS:PORT
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"golang.org/x/net/websocket"
)

var version = "unknown" // of the package, said by the linker

func dial() *websocket.Conn {
	conn, err := websocket.Dial("ws://"+os.Args[1]+"/echo", "chat", "http://localhost/")
	if err != nil {
		log.Fatal(err)
	}
	conn.MaxPayloadBytes = 1 << 22
	return conn
}

func main() {
	conn := dial()
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 70000, 1 << 20} {
		message := strings.Repeat("x", size)
		if err := websocket.Message.Send(conn, message); err != nil {
			log.Fatal(err)
		}
		var echo string
		if err := websocket.Message.Receive(conn, &echo); err != nil || echo != message {
			log.Fatalf("echo of %d bytes: %d bytes, %v", size, len(echo), err)
		}
	}
	conn.Close()
	quit := dial()
	websocket.Message.Send(quit, "quit")
	var echo string
	if err := websocket.Message.Receive(quit, &echo); err != io.EOF {
		log.Fatalf("after quit: %q, %v", echo, err)
	}
	fmt.Println("Go x/net/websocket\t" + version + "\t13\tno\tchat\tend of file for either Close; 1 MiB of text in one piece")
}
