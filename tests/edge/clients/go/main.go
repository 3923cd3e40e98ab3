// Does what it reads, see ../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// raw passes messages on as they are encoded.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error)      { return *message.(*[]byte), nil }
func (raw) Unmarshal(data []byte, message any) error { *message.(*[]byte) = append([]byte(nil), data...); return nil }
func (raw) Name() string                             { return "proto" }

func main() {
	connection, err := grpc.NewClient("passthrough:///"+os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		panic(err)
	}
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+os.Args[2])
	var stream grpc.ClientStream
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		var request, answer []byte
		if len(words) > 2 {
			if request, err = hex.DecodeString(words[2]); err != nil {
				panic(err)
			}
		}
		switch words[0] {
		case "stream":
			stream, err = connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, words[1])
			if err == nil {
				err = stream.SendMsg(&request)
			}
			if err == nil {
				err = stream.CloseSend()
			}
			if err == nil {
				err = stream.RecvMsg(&answer)
			}
		case "receive":
			err = stream.RecvMsg(&answer)
		case "call":
			soon, cancel := context.WithTimeout(ctx, 10*time.Second)
			err = connection.Invoke(soon, words[1], &request, &answer)
			cancel()
		}
		rpcStatus := status.Convert(err)
		fmt.Println(uint32(rpcStatus.Code()), proto.Size(rpcStatus.Proto()))
	}
}
