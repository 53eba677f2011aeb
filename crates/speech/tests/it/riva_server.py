"""A Riva-compatible server for tests, from the official stubs of `nvidia-riva-client`.

The only argument is a JSON object:

  words               what the loud parts of the audio say, in order, over and over
  recogniser          a command that gets an utterance as 16-bit little-endian samples, and the rate as its last argument,
                      and tells the text; instead of `words`
  port                0 for any
  token               what `authorization` must be
  certificate, key    for TLS
  client_authorities  whose certificates clients must have

Prints its port, then one JSON object for each request when that is over. Ends when its standard input does.

Faults are asked for by the request itself, by the custom setting `fault` or by the name of the voice: `code 14` refuses with
that code, `hang` takes no audio, `deaf` takes it and never answers, `drop` ends the stream after one final.
"""

import base64
import json
import subprocess
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict
from riva.client.proto import riva_asr_pb2 as asr
from riva.client.proto import riva_asr_pb2_grpc as asr_grpc
from riva.client.proto import riva_audio_pb2 as audio
from riva.client.proto import riva_tts_pb2 as tts
from riva.client.proto import riva_tts_pb2_grpc as tts_grpc

FRAME_MS = 10
LOUD = 500
WORD_ENDS_AFTER_MS = 60
UTTERANCE_ENDS_AFTER_MS = 500
SECOND_SPEAKER_FROM = 15000
CODES = {code.value[0]: code for code in grpc.StatusCode}
OPTIONS = json.loads(sys.argv[1])
PRINTING = threading.Lock()


def tell(**what):
    with PRINTING:
        print(json.dumps(what), flush=True)


def ulaw(code):
    """ITU-T G.711."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def samples_of(content, encoding):
    if encoding == audio.MULAW:
        return [ulaw(code) for code in content]
    return [int.from_bytes(content[i : i + 2], "little", signed=True) for i in range(0, len(content), 2)]


def fault_of(context, words):
    kind, _, code = words.partition(" ")
    if kind == "code":
        context.abort(CODES[int(code)], "as it was asked to")
    return kind


def admit(context):
    metadata = dict(context.invocation_metadata())
    if OPTIONS.get("token") not in (None, metadata.get("authorization")):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no good token")
    return metadata


class Ear:
    """Loud parts of the audio are words; a pause ends the utterance."""

    def __init__(self, config, said):
        self.config = config
        self.frame = config.sample_rate_hertz * FRAME_MS // 1000
        ends = config.endpointing_config
        self.patience_ms = ends.stop_history if ends.HasField("stop_history") else UTTERANCE_ENDS_AFTER_MS
        self.said = said
        self.samples = []
        self.heard = 0
        self.begin = 0
        self.words = []
        self.in_word = False

    def push(self, samples):
        self.samples += samples
        results = []
        while (self.heard + 1) * self.frame <= len(self.samples):
            results += self.step(self.samples[self.heard * self.frame : (self.heard + 1) * self.frame])
        return results

    def step(self, frame):
        now_ms = self.heard * FRAME_MS
        self.heard += 1
        level = max(abs(sample) for sample in frame)
        if level >= LOUD:
            if not self.in_word:
                self.in_word = True
                speaker = 2 if level >= SECOND_SPEAKER_FROM else 1
                self.words.append({"start_time": now_ms, "speaker_tag": speaker})
            self.words[-1]["end_time"] = now_ms + FRAME_MS
            return []
        if not self.words:
            return []
        quiet_ms = now_ms + FRAME_MS - self.words[-1]["end_time"]
        if self.in_word and quiet_ms >= WORD_ENDS_AFTER_MS:
            self.in_word = False
            return [self.interim()]
        return [self.final()] if quiet_ms >= self.patience_ms else []

    def processed_s(self):
        return self.heard * FRAME_MS / 1000

    def text(self):
        if "recogniser" not in OPTIONS:
            return [self.said[i % len(self.said)] for i in range(len(self.words))]
        first, last = self.words[0]["start_time"], self.words[-1]["end_time"]
        rate = self.config.sample_rate_hertz
        pcm = b"".join(
            sample.to_bytes(2, "little", signed=True) for sample in self.samples[first * rate // 1000 : last * rate // 1000]
        )
        told = subprocess.run(OPTIONS["recogniser"] + [str(rate)], input=pcm, stdout=subprocess.PIPE, check=True)
        words = told.stdout.decode().split()
        each = (last - first) // max(len(words), 1)
        self.words = [
            {"start_time": first + i * each, "end_time": first + (i + 1) * each, "speaker_tag": 1} for i in range(len(words))
        ]
        return words

    def alternative(self, texts, words):
        infos = [asr.WordInfo(word=text, confidence=0.8, **word) for text, word in zip(texts, words)]
        return asr.SpeechRecognitionAlternative(
            transcript="".join(text + " " for text in texts),
            confidence=0.9,
            words=infos if self.config.enable_word_time_offsets else [],
            language_code=[self.config.language_code],
        )

    def interim(self):
        texts = [self.said[i % len(self.said)] for i in range(len(self.words))]
        parts = [(0.9, texts[:-1], self.words[:-1]), (0.1, texts[-1:], self.words[-1:])]
        return [
            asr.StreamingRecognitionResult(
                alternatives=[self.alternative(part, words)], stability=stability, audio_processed=self.processed_s()
            )
            for stability, part, words in parts
        ]

    def final(self):
        texts = self.text()
        best = self.alternative(texts, self.words)
        others = [asr.SpeechRecognitionAlternative(transcript=f"{best.transcript}{n} ") for n in range(self.config.max_alternatives - 1)]
        self.said = self.said[len(texts) % len(self.said) :] + self.said[: len(texts) % len(self.said)]
        self.words, self.in_word = [], False
        return [
            asr.StreamingRecognitionResult(
                alternatives=[best, *others], is_final=True, audio_processed=self.processed_s()
            )
        ]

    def end(self):
        return [self.final()] if self.words else []


class Recognition(asr_grpc.RivaSpeechRecognitionServicer):
    def StreamingRecognize(self, requests, context):
        metadata = admit(context)
        config = next(requests).streaming_config
        fault = fault_of(context, config.config.custom_configuration.get("fault", ""))
        over = threading.Event()
        context.add_callback(over.set)
        if fault == "hang":
            over.wait()
            return
        ear = Ear(config.config, OPTIONS.get("words", ["word"]))
        content, chunks, forced = b"", [], []
        try:
            for request in requests:
                content += request.audio_content
                chunks.append(len(request.audio_content))
                results = ear.push(samples_of(request.audio_content, config.config.encoding))
                if request.runtime_config.get("force_eou") == "true":
                    forced.append(len(content))
                    results += ear.end()
                for result in results:
                    if fault != "deaf" and (result[0].is_final or config.interim_results):
                        yield asr.StreamingRecognizeResponse(results=result)
                    if fault == "drop" and result[0].is_final:
                        return
            if fault == "deaf":
                over.wait()
            for result in ear.end():
                yield asr.StreamingRecognizeResponse(results=result)
        finally:
            tell(
                rpc="StreamingRecognize",
                metadata=metadata,
                config=MessageToDict(config, preserving_proto_field_name=True),
                audio=base64.b64encode(content).decode(),
                chunks=chunks,
                forced=forced,
                cancelled=not context.is_active(),
            )

    def Recognize(self, request, context):
        metadata = admit(context)
        fault = fault_of(context, request.config.custom_configuration.get("fault", ""))
        over = threading.Event()
        context.add_callback(over.set)
        if fault == "hang":
            over.wait()
        ear = Ear(request.config, OPTIONS.get("words", ["word"]))
        results = [result for part in ear.push(samples_of(request.audio, request.config.encoding)) for result in part]
        results += [result for part in ear.end() for result in part]
        config = MessageToDict(request.config, preserving_proto_field_name=True)
        tell(rpc="Recognize", metadata=metadata, config=config, audio=base64.b64encode(request.audio).decode())
        return asr.RecognizeResponse(
            results=[
                asr.SpeechRecognitionResult(alternatives=result.alternatives, audio_processed=result.audio_processed)
                for result in results
                if result.is_final
            ]
        )

    def GetRivaSpeechRecognitionConfig(self, request, context):
        admit(context)
        parameters = {"language_code": "en-US", "type": "online"}
        config = asr.RivaSpeechRecognitionConfigResponse.Config(model_name="test-en-US", parameters=parameters)
        return asr.RivaSpeechRecognitionConfigResponse(model_config=[config])


class Synthesis(tts_grpc.RivaSpeechSynthesisServicer):
    """10 ms of each character, as loud as its number."""

    def pcm(self, request):
        each = request.sample_rate_hz * FRAME_MS // 1000
        return b"".join(ord(c).to_bytes(2, "little") * each for c in request.text)

    def told(self, rpc, request, context):
        tell(rpc=rpc, request=MessageToDict(request, preserving_proto_field_name=True), cancelled=not context.is_active())

    def SynthesizeOnline(self, requests, context):
        admit(context)
        request = next(requests)
        fault = fault_of(context, request.voice_name)
        if fault == "whole":
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "it speaks only when all is made")
        over = threading.Event()
        context.add_callback(over.set)
        if fault == "hang":
            over.wait()
        pcm = self.pcm(request)
        try:
            # An odd number: pieces end within samples.
            for begin in range(0, len(pcm), 333):
                yield tts.SynthesizeSpeechResponse(audio=pcm[begin : begin + 333])
                if fault == "stops":
                    over.wait()
                if fault == "breaks":
                    context.abort(grpc.StatusCode.INTERNAL, f"cannot speak {request.text}")
        finally:
            self.told("SynthesizeOnline", request, context)

    def Synthesize(self, request, context):
        admit(context)
        fault_of(context, request.voice_name)
        self.told("Synthesize", request, context)
        return tts.SynthesizeSpeechResponse(audio=self.pcm(request))

    def GetRivaSynthesisConfig(self, request, context):
        admit(context)
        config = tts.RivaSynthesisConfigResponse.Config(model_name="test-voice", parameters={"voice_name": "Test"})
        return tts.RivaSynthesisConfigResponse(model_config=[config])


def credentials():
    def read(name):
        with open(OPTIONS[name], "rb") as file:
            return file.read()

    authorities = read("client_authorities") if "client_authorities" in OPTIONS else None
    return grpc.ssl_server_credentials([(read("key"), read("certificate"))], authorities, authorities is not None)


def main():
    # Without SO_REUSEPORT a port that is taken is refused.
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    asr_grpc.add_RivaSpeechRecognitionServicer_to_server(Recognition(), server)
    tts_grpc.add_RivaSpeechSynthesisServicer_to_server(Synthesis(), server)
    address = f"127.0.0.1:{OPTIONS.get('port', 0)}"
    secure = "certificate" in OPTIONS
    port = server.add_secure_port(address, credentials()) if secure else server.add_insecure_port(address)
    server.start()
    tell(port=port)
    sys.stdin.read()
    server.stop(None)


main()
