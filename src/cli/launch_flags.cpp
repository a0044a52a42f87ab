// Flags of `tandem launch`, with mlx.launch's names.

#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "cli/command_line.h"
#include "cli/flag_rules.h"
#include "cli/flags.h"
#include "cli/limits.h"
#include "launch/command.h"
#include "launch/settings.h"

namespace tandem::cli {

void add_launch(CLI::App& app, LaunchOptions& options) {
  CLI::App& sub = *add_command(
      app, "launch", "Starts workers on other machines by ssh, and a command over them",
      "  tandem launch --hosts mac1,me@box2 -- generate MODEL -p \"Hello\"\n"
      "  tandem launch --hostfile hosts.json -- serve MODEL\n"
      "  tandem launch -n 2 -- bench MODEL\n"
      "What follows the -- is a command as by itself, without hosts and secrets: the launcher "
      "makes "
      "a key.");
  sub.add_option("--hosts", options.hosts,
                 "Where, in rank order, as ssh takes it: [user@]host,[user@]host; localhost: here")
      ->type_name("LIST [localhost]");
  sub.add_option("--hostfile", options.hostfile, "Hosts from a JSON file, as mlx.launch's")
      ->type_name("FILE");
  integer_flag(sub, "--repeat-hosts,-n", options.repeat, 1, limits::kRanksMax,
               "Workers on each host");
  sub.add_option_function<std::vector<std::string>>(
         "--env",
         [&options](const std::vector<std::string>& all) {
           for (const std::string& each : all) {
             auto variable = launch::parse_variable(each);
             if (!variable) throw CLI::ValidationError("--env", variable.error().message);
             options.variables.push_back(std::move(*variable));
           }
         },
         "A variable of the workers' environment; may come again")
      ->type_name("NAME=VALUE");
  sub.add_option("--cwd", options.folder, "Folder that workers work in")->type_name("FOLDER");
  value_flag(sub, "--binary", "tandem on the hosts, unless the host file says it",
             [&options](const std::string& text) -> Status {
               if (auto allowed = launch::check_binary(text); !allowed.ok()) return allowed;
               options.binary = text;
               return {};
             })
      ->type_name("PATH [tandem on its PATH]");
  integer_flag(sub, "--starting-port", options.starting_port, 0, 65535,
               "Port of the first worker, the next one's is one more; 0: any free ones");
  sub.add_flag("--verbose", options.verbose, "Show what workers write")->disable_flag_override();
}

Status check_launch(const LaunchOptions& options) {
  if (!options.hosts.empty() && !options.hostfile.empty()) {
    return invalid("--hostfile: cannot be used together with --hosts");
  }
  if (options.command.empty()) {
    return invalid("launch: a command has to follow: tandem launch --hosts a,b -- generate MODEL");
  }
  auto command = parse_command(options.command);
  if (!command) return command.error();
  return std::visit(
      [&]<class T>(const T& inner) -> Status {
        if constexpr (std::is_same_v<T, HelpText>) {
          return {};
        } else if constexpr (requires { inner.model.hosts; }) {
          const ModelOptions& model = inner.model;
          if (!model.hosts.empty() || !model.hostfile.empty()) {
            return invalid("--hosts and --hostfile belong before the --");
          }
          return {};
        } else {
          return invalid(fmt::format("launch: {} runs over no workers", options.command.front()));
        }
      },
      *command);
}

}  // namespace tandem::cli
