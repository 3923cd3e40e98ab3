import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptors;
import io.grpc.Channel;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;

/** Does what it reads, see ../README.md. */
public final class Client {
    private static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

    /** Passes messages on as they are encoded. */
    private static final MethodDescriptor.Marshaller<byte[]> RAW = new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] message) {
            return new ByteArrayInputStream(message);
        }

        @Override
        public byte[] parse(InputStream stream) {
            try {
                return stream.readAllBytes();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    };

    public static void main(String[] args) throws IOException {
        ManagedChannel connection = NettyChannelBuilder.forTarget(args[0]).usePlaintext().build();
        Metadata headers = new Metadata();
        headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + args[1]);
        Channel channel = ClientInterceptors.intercept(connection, MetadataUtils.newAttachHeadersInterceptor(headers));
        Iterator<byte[]> stream = null;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ", -1);
            byte[] request = words.length > 2 ? HexFormat.of().parseHex(words[2]) : null;
            try {
                switch (words[0]) {
                    case "stream" -> {
                        ClientCall<byte[], byte[]> call =
                                channel.newCall(method(MethodType.SERVER_STREAMING, words[1]), CallOptions.DEFAULT);
                        stream = ClientCalls.blockingServerStreamingCall(call, request);
                        stream.next();
                    }
                    case "receive" -> stream.next();
                    default -> ClientCalls.blockingUnaryCall(
                            channel,
                            method(MethodType.UNARY, words[1]),
                            CallOptions.DEFAULT.withDeadlineAfter(10, TimeUnit.SECONDS),
                            request);
                }
                System.out.println("0 0");
            } catch (RuntimeException error) {
                Metadata trailers = Status.trailersFromThrowable(error);
                byte[] details = trailers == null ? null : trailers.get(DETAILS);
                System.out.println(Status.fromThrowable(error).getCode().value() + " " + (details == null ? 0 : details.length));
            }
        }
        connection.shutdownNow();
    }

    private static MethodDescriptor<byte[], byte[]> method(MethodType type, String path) {
        return MethodDescriptor.newBuilder(RAW, RAW).setType(type).setFullMethodName(path.substring(1)).build();
    }
}
