// The other rank of a link, for tests of cluster/: a process that sends back what it gets.

#include "cluster/gateway/link_bench.h"
#include "cluster/link/grpc_transport.h"

int main() {
  tandem::cluster::quiet_grpc_log();
  return tandem::cluster::run_link_peer();
}
