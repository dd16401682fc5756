//! The interface against what it says of itself: openapi-spec-validator reads the document, schemathesis asks whatever it allows and does
//! not allow, and every answer must be one that is described.

use super::figure;
use crate::judges;
use crate::serving::Serving;
use anyhow::{Result, bail};
use std::process::Command;

const URL: &str = "testsrc://?size=320x240&fps=5&gop=5&audio=1";
/// So many requests an operation at most, in each phase.
const EXAMPLES: &str = "10";
/// Statuses that are no failure of the server, where they are described: a camera's failure, a decoder that is not installed, and
/// what is not there yet.
const CONFIGURATION: &str =
    "[checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"3xx\", \"4xx\", 501, 502, 503]\n";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,unsupported_method,use_after_free";

/// One run of both.
pub fn whole(seed: u64) -> Result<()> {
    let mut serving = Serving::start(&[("film", URL)])?;
    serving.add_token()?;
    serving.await_footage("film", 3.0)?;
    let programs = judges::openapi()?;
    let document = serving.dir().join("openapi.json");
    std::fs::write(&document, serving.client().body("/api/openapi.json")?)?;
    let configuration = serving.dir().join("schemathesis.toml");
    std::fs::write(&configuration, CONFIGURATION)?;
    must_pass(Command::new(programs.join("openapi-spec-validator")).arg(&document))?;
    let mut schemathesis = Command::new(programs.join("schemathesis"));
    schemathesis.arg("--config-file").arg(&configuration).arg("run").arg(&document);
    schemathesis.args(["--url", serving.base(), "--checks", CHECKS, "--exclude-path-regex", "/live$"]);
    schemathesis.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES]);
    schemathesis.args(["--seed", &seed.to_string(), "--no-shrink", "--continue-on-failure", "--no-color"]);
    schemathesis.args(["--generation-database", "none", "--request-timeout", "60", "--header"]);
    schemathesis.arg(format!("Authorization: Bearer {}", serving.token().unwrap_or_default()));
    let said = must_pass(schemathesis.current_dir(serving.dir()))?;
    let cases = said.lines().find(|line| line.contains("generated,")).unwrap_or_default();
    figure("described", &format!("schemathesis: {}", cases.trim()));
    // What it changed may have left no camera; the server is still there, and ends as it should.
    serving.client().get("/healthz")?.with_status(200)?;
    serving.stop()
}

/// What a program said that must end with 0.
fn must_pass(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let program = command.get_program().to_string_lossy().into_owned();
        bail!("{program}: {}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}
