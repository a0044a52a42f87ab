#include "cluster/trust/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cluster/trust/security.h"
#include "cluster/trust/throwaway_credentials.h"
#include "config/hosts.h"
#include "support/temp_folder.h"

namespace tandem::cluster {
namespace {

namespace fs = std::filesystem;

class CredentialFiles : public ::testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& contents,
                 fs::perms perms = fs::perms::owner_read | fs::perms::owner_write) {
    const fs::path path = folder_.path() / name;
    std::ofstream(path, std::ios::binary) << contents;
    fs::permissions(path, perms);
    return path;
  }
  // All three TLS files of `credentials`.
  CredentialPaths tls_paths(const Credentials& credentials) {
    CredentialPaths paths;
    paths.certificate = write("cert.pem", credentials.certificate);
    paths.private_key = write("key.pem", credentials.private_key);
    paths.ca = write("ca.pem", credentials.ca);
    return paths;
  }
  std::string refusal(const CredentialPaths& paths) {
    const auto got = load_credentials(paths);
    EXPECT_FALSE(got.ok());
    return got.ok() ? "" : got.error().message;
  }

  tandem::testing::TempFolder folder_;
};

TEST_F(CredentialFiles, NothingGivenIsNoSecret) {
  const auto got = load_credentials({});
  ASSERT_TRUE(got.ok());
  EXPECT_FALSE(got->tls());
  EXPECT_TRUE(got->key.empty());
}

TEST_F(CredentialFiles, AKeyIsReadWithoutItsTrailingNewline) {
  CredentialPaths paths;
  paths.key = write("key", "0123456789abcdef\r\n\n");
  const auto got = load_credentials(paths);
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(got->key, "0123456789abcdef");
}

TEST_F(CredentialFiles, BadKeysAreRefusedByName) {
  CredentialPaths paths;
  paths.key = write("short", "0123456789abcde\n");
  EXPECT_NE(refusal(paths).find("short: a cluster key has 16 to 4096 bytes, this has 15"),
            std::string::npos);
  paths.key = write("long", std::string(5000, 'k'));
  EXPECT_NE(refusal(paths).find("this has 5000"), std::string::npos);
  paths.key = write("open", "0123456789abcdef", fs::perms::all);
  EXPECT_NE(refusal(paths).find("open: a secret that other users may read"), std::string::npos);
  paths.key = folder_.path() / "missing";
  EXPECT_NE(refusal(paths).find("missing: no such file"), std::string::npos);
  paths.key = folder_.path();
  EXPECT_NE(refusal(paths).find("no such file"), std::string::npos);
}

TEST_F(CredentialFiles, TlsNeedsAllThreeFilesThatFit) {
  const Credentials ours = make_throwaway_credentials();
  const CredentialPaths good = tls_paths(ours);
  const auto got = load_credentials(good);
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_TRUE(got->tls());
  EXPECT_EQ(got->certificate, ours.certificate);
  CredentialPaths paths = good;
  paths.ca.clear();
  EXPECT_EQ(refusal(paths), "TLS needs all of certificate, private key and CA");
  paths = good;
  paths.private_key = write("other.pem", make_throwaway_credentials().private_key);
  EXPECT_NE(refusal(paths).find("other.pem: not the key of"), std::string::npos);
  paths = good;
  paths.certificate = write("noise.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
  EXPECT_NE(refusal(paths).find("noise.pem: not a PEM certificate"), std::string::npos);
  paths = good;
  paths.ca = write("ca2.pem", "");
  EXPECT_NE(refusal(paths).find("ca2.pem: not a PEM certificate"), std::string::npos);
  paths = good;
  paths.private_key = write("key2.pem", "nothing");
  EXPECT_NE(refusal(paths).find("key2.pem: not a PEM private key"), std::string::npos);
}

TEST(Exposure, WithoutSecretsOnlyLoopback) {
  const Credentials none;
  for (const char* address : {"127.0.0.1:80", "127.9.9.9:1", "localhost:0", "[::1]:5"}) {
    EXPECT_TRUE(check_exposure(none, address).ok()) << address;
  }
  for (const char* address : {"0.0.0.0:0", "[::]:0", "10.0.0.1:5", "127.evil.example:5",
                              "localhost.example:5", ":5", "", "["}) {
    const bool ok = check_exposure(none, address).ok();
    EXPECT_FALSE(ok) << address;
  }
  Credentials key;
  key.key = "0123456789abcdef";
  EXPECT_TRUE(check_exposure(key, "0.0.0.0:0").ok());
  EXPECT_TRUE(check_exposure(make_throwaway_credentials(), "10.0.0.1:5").ok());
}

// RFC 4231's test case 2 cannot be expressed: lengths are part of what is signed. The value was
// computed with `openssl dgst -sha256 -mac HMAC -macopt key:0123456789abcdef` over
// 01 00*7 "p" 02 00*7 "ab" 00*8.
TEST(Exposure, TlsWithMlxIsRefusedUnlessAllStaysOnThisMachine) {
  const Credentials tls{"certificate", "private key", "ca", {}};
  const Credentials key{{}, {}, {}, "a cluster key"};
  const std::vector<config::Host> near{{"127.0.0.1", 4820, {}}, {"127.0.0.1", 4821, {}}};
  const std::vector<config::Host> far{{"10.0.0.1", 4820, {}}, {"10.0.0.2", 4820, {}}};
  const Status refused = check_frame_security(tls, "mlx", far);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("--tls-cert"));
  EXPECT_FALSE(check_frame_security(tls, "mlx", {near[0], far[0]}).ok());
  EXPECT_TRUE(check_frame_security(tls, "mlx", near).ok());
  EXPECT_TRUE(check_frame_security(tls, "mlx", {}).ok()) << "ranks of this process";
  EXPECT_TRUE(check_frame_security(tls, "grpc", far).ok());
  EXPECT_TRUE(check_frame_security(key, "mlx", far).ok());
}

TEST(Proof, IsHmacSha256OverLengthsAndParts) {
  const std::string proof = make_proof("0123456789abcdef", "p", {"ab", ""});
  std::string hex;
  for (const char c : proof) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[c & 15];
  }
  EXPECT_EQ(hex, "ffc399e6f66410ac47fb63ee1aee5780b50c984657901a6744f2b3f8c42ee960");
}

TEST(Proof, DependsOnKeyPurposeAndWhereThePartsEnd) {
  const std::string proof = make_proof("key", "p", {"ab", "c"});
  EXPECT_TRUE(same_proof(proof, make_proof("key", "p", {"ab", "c"})));
  EXPECT_FALSE(same_proof(proof, make_proof("key", "p", {"a", "bc"})));
  EXPECT_FALSE(same_proof(proof, make_proof("key", "p", {"abc"})));
  EXPECT_FALSE(same_proof(proof, make_proof("key", "pa", {"b", "c"})));
  EXPECT_FALSE(same_proof(proof, make_proof("kez", "p", {"ab", "c"})));
  EXPECT_FALSE(same_proof(proof, proof.substr(1)));
  EXPECT_EQ(make_proof("", "p", {"ab"}), "");
}

TEST(Nonce, IsNewEveryTime) {
  EXPECT_EQ(make_nonce().size(), kNonceBytes);
  EXPECT_NE(make_nonce(), make_nonce());
}

}  // namespace
}  // namespace tandem::cluster
