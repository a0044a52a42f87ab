#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

namespace tandem::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

template <class T>
T parsed(const Arguments& arguments) {
  auto command = parse_command(arguments);
  if (!command.ok()) {
    ADD_FAILURE() << command.error().message;
    return {};
  }
  if (!std::holds_alternative<T>(*command)) {
    ADD_FAILURE() << "another command";
    return {};
  }
  return std::get<T>(*command);
}

TEST(CommandLine, GenerateHasMlxLmsDefaults) {
  const auto options = parsed<GenerateOptions>({"generate"});
  EXPECT_EQ(options.sampling.max_tokens, 100);
  EXPECT_EQ(options.sampling.params.temperature, 0);
  EXPECT_EQ(options.sampling.params.top_p, 1);
  EXPECT_EQ(options.sampling.params.min_p, 0);
  EXPECT_EQ(options.sampling.params.top_k, 0);
  EXPECT_EQ(options.sampling.params.xtc_probability, 0);
  EXPECT_EQ(options.sampling.params.xtc_threshold, 0);
  EXPECT_EQ(options.sampling.params.min_tokens_to_keep, 1);
  EXPECT_FALSE(options.sampling.seed.has_value());
  EXPECT_TRUE(options.verbose);
  EXPECT_FALSE(options.prompt.has_value());
  EXPECT_EQ(options.model.prefill_step_size, 2048);
  EXPECT_EQ(options.model.threads, 0);
  EXPECT_EQ(options.model.transport, cluster::TransportKind::kGrpc);
}

TEST(CommandLine, GenerateReadsEveryFlag) {
  const auto options = parsed<GenerateOptions>({"generate",
                                                "folder",
                                                "-p",
                                                "-",
                                                "-m",
                                                "7",
                                                "--temp",
                                                "0.5",
                                                "--top-p",
                                                "0.9",
                                                "--min-p",
                                                "0.1",
                                                "--top-k",
                                                "40",
                                                "--xtc-probability",
                                                "0.2",
                                                "--xtc-threshold",
                                                "0.3",
                                                "--min-tokens-to-keep",
                                                "2",
                                                "--seed",
                                                "18446744073709551615",
                                                "--system-prompt",
                                                "be brief",
                                                "--prefill-response",
                                                "Yes",
                                                "--chat-template-config",
                                                R"({"a": 1})",
                                                "--verbose",
                                                "False",
                                                "--ranks",
                                                "3",
                                                "--hosts",
                                                "a,b,c",
                                                "--threads",
                                                "2",
                                                "--transport",
                                                "mlx",
                                                "--mlx-backend",
                                                "mpi",
                                                "--prefill-step-size",
                                                "64",
                                                "--device",
                                                "cpu",
                                                "--activations",
                                                "f32",
                                                "--kv-bits",
                                                "8",
                                                "--cpu-isa",
                                                "portable",
                                                "--cluster-key-file",
                                                "k",
                                                "--insecure",
                                                "--extra-eos-token",
                                                "<a>",
                                                "<b>"});
  EXPECT_EQ(options.model.model, "folder");
  EXPECT_EQ(*options.prompt, "-");
  EXPECT_EQ(options.sampling.max_tokens, 7);
  EXPECT_FLOAT_EQ(options.sampling.params.temperature, 0.5F);
  EXPECT_FLOAT_EQ(options.sampling.params.top_p, 0.9F);
  EXPECT_FLOAT_EQ(options.sampling.params.min_p, 0.1F);
  EXPECT_EQ(options.sampling.params.top_k, 40);
  EXPECT_FLOAT_EQ(options.sampling.params.xtc_probability, 0.2F);
  EXPECT_FLOAT_EQ(options.sampling.params.xtc_threshold, 0.3F);
  EXPECT_EQ(options.sampling.params.min_tokens_to_keep, 2);
  EXPECT_EQ(*options.sampling.seed, 18446744073709551615ULL);
  EXPECT_EQ(*options.chat_template.system_prompt, "be brief");
  EXPECT_EQ(*options.chat_template.config, R"({"a": 1})");
  EXPECT_EQ(*options.prefill_response, "Yes");
  EXPECT_FALSE(options.verbose);
  EXPECT_EQ(options.model.hosts, "a,b,c");
  EXPECT_EQ(*options.model.ranks, 3);
  EXPECT_EQ(options.model.threads, 2);
  EXPECT_EQ(options.model.transport, cluster::TransportKind::kMlx);
  EXPECT_EQ(options.model.mlx_backend, "mpi");
  EXPECT_EQ(options.model.prefill_step_size, 64);
  EXPECT_EQ(options.model.devices, std::vector{Device::kCpu});
  EXPECT_EQ(*options.model.activations, kernels::Activations::kF32);
  EXPECT_EQ(options.model.kv_bits, 8);
  EXPECT_EQ(options.model.isa, kernels::Isa::kPortable);
  EXPECT_EQ(options.model.security.cluster_key_file, "k");
  EXPECT_TRUE(options.model.security.insecure);
  EXPECT_THAT(options.sampling.extra_eos_tokens, ElementsAre("<a>", "<b>"));
}

TEST(CommandLine, APromptMayLookLikeAFlag) {
  EXPECT_EQ(*parsed<GenerateOptions>({"generate", "-p", "--json"}).prompt, "--json");
  EXPECT_EQ(*parsed<GenerateOptions>({"generate", "--prompt", "-5 apples"}).prompt, "-5 apples");
  EXPECT_EQ(*parsed<GenerateOptions>({"generate", "-p", ""}).prompt, "");
}

TEST(CommandLine, ModelIsPositionalOrAFlag) {
  EXPECT_EQ(parsed<GenerateOptions>({"generate", "--model", "m"}).model.model, "m");
  EXPECT_EQ(parsed<ChatOptions>({"chat", "m"}).model.model, "m");
}

TEST(CommandLine, OtherCommandsHaveTheirDefaults) {
  EXPECT_EQ(parsed<ChatOptions>({"chat"}).sampling.max_tokens, 256);
  const auto score = parsed<ScoreOptions>({"score", "m", "--ids", "f", "--top-logprobs", "5"});
  EXPECT_EQ(score.ids_file, "f");
  EXPECT_EQ(score.top_logprobs, 5);
  const auto bench = parsed<BenchOptions>({"bench", "m", "-p", "16", "-n", "8", "-r", "2"});
  EXPECT_EQ(bench.prompt, 16);
  EXPECT_EQ(bench.generate, 8);
  EXPECT_EQ(bench.repeats, 2);
  EXPECT_EQ(parsed<BenchMemoryOptions>({"bench", "memory", "--threads", "2"}).threads, 2);
  const auto worker =
      parsed<WorkerCommand>({"worker", "--listen", "[::1]:5000", "--data-port", "7"});
  EXPECT_EQ(worker.worker.listen.name, "::1");
  EXPECT_EQ(worker.worker.listen.port, 5000);
  EXPECT_EQ(worker.worker.data_port, 7);
  EXPECT_FALSE(worker.worker.parent);
  EXPECT_TRUE(parsed<WorkerCommand>({"worker", "--parent"}).worker.parent);
}

TEST(CommandLine, HelpNamesCommandsAndExamples) {
  const std::string text = parsed<HelpText>({"--help"}).text;
  for (const char* command : {"generate", "chat", "score", "bench", "worker", "Examples:"}) {
    EXPECT_THAT(text, HasSubstr(command));
  }
  EXPECT_THAT(text, testing::Not(HasSubstr("compute-child")));
  EXPECT_EQ(parsed<HelpText>({}).text, text);
  EXPECT_THAT(parsed<HelpText>({"generate", "--help"}).text, HasSubstr("--top-p"));
  EXPECT_THAT(parsed<HelpText>({"bench", "memory", "-h"}).text, HasSubstr("--megabytes"));
  EXPECT_THAT(parsed<HelpText>({"--version"}).text, testing::StartsWith("tandem "));
}

TEST(CommandLine, FlagsOfAClusterOrOfMlxKernelsAreTakenWhereTheyMeanSomething) {
  EXPECT_TRUE(parsed<GenerateOptions>({"generate", "--mlx-kernels"}).model.mlx_kernels);
  EXPECT_TRUE(parsed<GenerateOptions>({"generate", "--json"}).json);
  EXPECT_TRUE(parsed<GenerateOptions>({"generate", "--hostfile", "f", "--insecure"})
                  .model.security.insecure);
  EXPECT_EQ(parsed<ScoreOptions>({"score", "--ids", "f", "--transport", "mlx", "--ranks", "2"})
                .model.transport,
            cluster::TransportKind::kMlx);
  EXPECT_EQ(parsed<ChatOptions>({"chat", "--transport", "mlx", "--hosts", "a"}).model.hosts, "a");
  EXPECT_EQ(
      parsed<BenchLinkOptions>({"bench", "link", "--transport", "mlx", "--mlx-backend", "mpi"})
          .mlx_backend,
      "mpi");
}

struct BadLine {
  Arguments arguments;
  const char* expects;
};

TEST(CommandLine, AFlagWithoutEffectIsAMistake) {
  const BadLine cases[] = {
      {{"generate", "--cluster-key-file", "k"}, "--cluster-key-file: has no meaning without --h"},
      {{"chat", "--tls-cert", "c", "--ranks", "2"}, "--tls-cert: has no meaning without --hosts"},
      {{"score", "--ids", "f", "--tls-key", "k"}, "--tls-key: has no meaning without --hosts"},
      {{"bench", "--tls-ca", "c"}, "--tls-ca: has no meaning without --hosts"},
      {{"generate", "--insecure"}, "--insecure: has no meaning without --hosts"},
      {{"generate", "--mlx-backend", "ring"}, "--mlx-backend: has no meaning without --transport"},
      {{"bench", "link", "--mlx-backend", "mpi"}, "--mlx-backend: has no meaning without"},
      {{"generate", "--transport", "mlx"}, "--transport mlx: has no meaning with one local rank"},
      {{"bench", "--transport", "mlx", "--ranks", "1"}, "--transport mlx: has no meaning with one"},
      {{"chat", "--cpu-isa", "best", "--mlx-kernels"}, "--cpu-isa: has no meaning with --mlx-k"},
      {{"generate", "--json", "--verbose", "True"}, "--verbose: has no meaning with --json"},
      {{"generate", "--prompt-ids", "1", "--ignore-chat-template"},
       "--ignore-chat-template: has no meaning with --prompt-ids"},
      {{"bench", "--ranks", "2", "memory"}, "--ranks: has no meaning with bench memory"},
      {{"bench", "--json", "link"}, "--json: has no meaning with bench link"},
  };
  for (const BadLine& bad : cases) {
    const auto command = parse_command(bad.arguments);
    ASSERT_FALSE(command.ok()) << bad.expects;
    EXPECT_EQ(command.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(command.error().message, HasSubstr(bad.expects));
  }
}

TEST(CommandLine, EveryMistakeIsOneLineThatNamesTheFlag) {
  const BadLine cases[] = {
      {{"fly"}, "fly"},
      {{"swerve"}, "swerve"},
      {{"generate", "--flag"}, "--flag"},
      {{"generate", "a", "b"}, "b"},
      {{"generate", "-m", "0"}, "--max-tokens"},
      {{"generate", "-m", "-2"}, "--max-tokens"},
      {{"generate", "-m"}, "--max-tokens"},
      {{"generate", "-m", "many"}, "--max-tokens"},
      {{"generate", "--temp", "-0.1"}, "--temp"},
      {{"generate", "--temp", "nan"}, "--temp"},
      {{"generate", "--top-p", "1.5"}, "--top-p"},
      {{"generate", "--min-p", "2"}, "--min-p"},
      {{"generate", "--min-p", "1"}, "--min-p: must be below 1"},
      {{"generate", "--min-p", "0.99999999999"}, "--min-p: must be below 1"},
      {{"generate", "--top-k", "-1"}, "--top-k"},
      {{"generate", "--xtc-probability", "2"}, "--xtc-probability"},
      {{"generate", "--xtc-threshold", "0.6"}, "--xtc-threshold"},
      {{"generate", "--min-tokens-to-keep", "0"}, "--min-tokens-to-keep"},
      {{"generate", "--seed", "-1"}, "--seed"},
      {{"generate", "--ranks", "0"}, "--ranks"},
      {{"generate", "--threads", "-1"}, "--threads"},
      {{"generate", "--transport", "udp"}, "--transport"},
      {{"generate", "--mlx-backend", "udp"}, "--mlx-backend"},
      {{"generate", "--device", "tpu"}, "--device"},
      {{"generate", "--activations", "f64"}, "--activations"},
      {{"generate", "--cpu-isa", "mmx"}, "--cpu-isa"},
      {{"generate", "--kv-bits", "4"}, "--kv-bits: must be 8, not \"4\""},
      {{"generate", "--kv-bits", "8", "--mlx-kernels"}, "--kv-bits: cannot be used together"},
      {{"bench", "--contexts", ""}, "--contexts"},
      {{"bench", "--contexts", "0"}, "--contexts: a context has 1 to"},
      {{"bench", "--contexts", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"}, "1 to 16 sizes"},
      {{"bench", "--contexts", "64", "-p", "9"}, "--prompt-tokens: has no meaning"},
      {{"bench", "--contexts", "64", "--concurrency", "2"}, "--concurrency: has no meaning"},
      {{"bench", "--contexts", "64", "-n", "1"}, "--generate-tokens: must be 2"},
      {{"generate", "--prefill-step-size", "0"}, "--prefill-step-size"},
      {{"generate", "--verbose", "maybe"}, "--verbose"},
      {{"generate", "--chat-template-config", "[1]"}, "--chat-template-config"},
      {{"generate", "--chat-template-config", "{"}, "--chat-template-config"},
      {{"generate", "--hosts", "a:0"}, "--hosts"},
      {{"generate", "--hosts", "a,a"}, "--hosts"},
      {{"generate", "--hosts", "a", "--hostfile", "f"}, "--hostfile"},
      {{"generate", "--device", "gpu", "--cpu-isa", "avx2"}, "--cpu-isa"},
      {{"generate", "--prompt-ids", "1", "-p", "x"}, "--prompt-ids"},
      {{"generate", "--prompt-ids", "1", "--system-prompt", "x"}, "--system-prompt"},
      {{"generate", "--ignore-chat-template", "--prefill-response", "x"}, "--prefill-response"},
      {{"generate", "--ignore-chat-template", "--chat-template-config", "{}"},
       "--chat-template-config"},
      {{"generate", "--json", "--json=3"}, "--json"},
      {{"score", "m"}, "--ids"},
      {{"score", "m", "--ids", "f", "--top-logprobs", "5000"}, "--top-logprobs"},
      {{"bench", "m", "-r", "0"}, "--repeats"},
      {{"bench", "m", "-p", "0"}, "--prompt-tokens"},
      {{"bench", "m", "--concurrency", "0"}, "--concurrency"},
      {{"bench", "memory", "--megabytes", "1"}, "--megabytes"},
      {{"bench", "link", "--payloads", "1,x"}, "--payloads"},
      {{"bench", "link", "--payloads", "999999999"}, "--payloads"},
      {{"bench", "link", "--round-trips", "0"}, "--round-trips"},
      {{"bench", "link", "--transport", "mlx", "--tls"}, "--tls"},
      {{"worker", "--listen", "host:99999"}, "--listen"},
      {{"worker", "--data-port", "65536"}, "--data-port"},
      {{"generate", "-p", "x", "-p", "y"}, "--prompt"},
  };
  for (const BadLine& bad : cases) {
    const auto command = parse_command(bad.arguments);
    ASSERT_FALSE(command.ok()) << bad.arguments.back();
    EXPECT_EQ(command.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(command.error().message, HasSubstr(bad.expects));
    EXPECT_EQ(command.error().message.find('\n'), std::string::npos) << command.error().message;
  }
}

}  // namespace
}  // namespace tandem::cli
