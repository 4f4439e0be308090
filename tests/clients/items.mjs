// SPDX-License-Identifier: MIT
// One item of every type in the client's ResponseInputItem that a conversation keeps, in full form. The last
// one has a type that no client knows.
const call = (type, more) => ({ type, call_id: `call_${type}`, ...more });

export const items = [
  {
    type: "message", role: "user", status: "completed",
    content: [
      {
        type: "input_text",
        text: 'What is on this picture? é \u{1f600} "quoted" \\ \u2028',
        prompt_cache_breakpoint: { mode: "explicit" },
      },
      { type: "input_image", detail: "high", image_url: "data:image/png;base64,iVBORw0KGgo=", file_id: null },
      { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERi0=" },
    ],
  },
  { type: "message", role: "system", status: "completed", content: [{ type: "input_text", text: "Be brief." }] },
  { type: "message", role: "developer", status: "incomplete", content: [{ type: "input_text", text: "" }] },
  {
    id: "msg_ours_1", type: "message", role: "assistant", status: "completed", phase: "final_answer",
    content: [
      {
        type: "output_text",
        text: "A cat.",
        annotations: [{ type: "url_citation", url: "https://example.org/?a=1&b=2", title: "Cats", start_index: 0, end_index: 5 }],
        logprobs: [{ token: "A", bytes: [65], logprob: -0.0000123, top_logprobs: [] }],
      },
      { type: "refusal", refusal: "No more." },
    ],
  },
  call("function_call", {
    id: "fc_1", name: "weather", namespace: "tools",
    arguments: '{"city": "Z\\u00fcrich", "n": 1.0, "big": 12345678901234567890}', status: "completed",
  }),
  call("function_call_output", {
    id: "fco_1",
    output: [
      { type: "input_text", text: "42" },
      { type: "input_image", detail: "auto", image_url: "https://example.org/x.png" },
    ],
    status: "completed",
  }),
  call("function_call_output", { call_id: "call_2", output: "", status: "incomplete" }),
  {
    id: "rs_1", type: "reasoning", summary: [{ type: "summary_text", text: "Thought." }],
    content: [{ type: "reasoning_text", text: "Hm." }], encrypted_content: "gAAAAA==", status: "completed",
  },
  {
    id: "fs_1", type: "file_search_call", queries: ["cats"], status: "completed",
    results: [{ attributes: { a: 1, b: true, c: "x" }, file_id: "file_1", filename: "cats.txt", score: 0.5, text: "Cats." }],
  },
  {
    id: "ws_1", type: "web_search_call", status: "completed",
    action: { type: "search", query: "cats", queries: ["cats"], sources: [{ type: "url", url: "https://example.org/" }] },
  },
  call("computer_call", {
    id: "cu_1", action: { type: "click", button: "left", x: 100, y: 0 },
    pending_safety_checks: [{ id: "sc_1", code: null, message: null }], status: "completed",
  }),
  call("computer_call_output", {
    id: "cuo_1", output: { type: "computer_screenshot", image_url: "data:image/png;base64,AAAA" },
    acknowledged_safety_checks: [], status: "completed",
  }),
  { id: "ig_1", type: "image_generation_call", result: "iVBORw0KGgo=", status: "completed", quality: "high", revised_prompt: null },
  {
    id: "ci_1", type: "code_interpreter_call", code: "print(1)\n", container_id: "cntr_1",
    outputs: [{ type: "logs", logs: "1\n" }], status: "completed",
  },
  call("local_shell_call", {
    id: "ls_1",
    action: { type: "exec", command: ["ls", "-l"], env: { A: "1", __proto: "x" }, timeout_ms: 1000, user: null },
    status: "completed",
  }),
  { id: "lso_1", type: "local_shell_call_output", output: '{"output":"total 0"}', status: "completed" },
  call("shell_call", { action: { commands: ["ls"], timeout_ms: null }, environment: { type: "local" }, status: "completed" }),
  call("shell_call_output", {
    output: [{ stdout: "", stderr: "no", outcome: { type: "exit", exit_code: 1 } }], max_output_length: 4096,
    status: "completed",
  }),
  call("apply_patch_call", { operation: { type: "update_file", path: "a", diff: "@@\n-a\n+b\n" }, status: "completed" }),
  call("apply_patch_call_output", { output: null, status: "failed" }),
  {
    id: "mcpl_1", type: "mcp_list_tools", server_label: "s",
    tools: [{ name: "t", input_schema: { type: "object", properties: {} }, annotations: null, description: "d" }],
    error: null, status: "completed",
  },
  { id: "mcpr_1", type: "mcp_approval_request", name: "t", server_label: "s", arguments: "{}", status: "completed" },
  { type: "mcp_approval_response", approval_request_id: "mcpr_1", approve: false, reason: "no", status: "completed" },
  { id: "mcp_1", type: "mcp_call", name: "t", server_label: "s", arguments: "{}", output: null, error: "failed", status: "failed" },
  call("custom_tool_call", { id: "ctc_1", name: "sql", input: "SELECT 1", status: "completed" }),
  call("custom_tool_call_output", { output: "1", status: "completed" }),
  call("tool_search_call", { arguments: { q: ["a"] }, execution: "client", status: "completed" }),
  call("tool_search_output", { execution: "client", tools: [], status: "completed" }),
  {
    type: "additional_tools", role: "developer",
    tools: [{ type: "function", name: "f", parameters: null, strict: true }], status: "completed",
  },
  { id: "pg_1", type: "program", call_id: "call_p", code: "return 1", fingerprint: "f", status: "completed" },
  { id: "po_1", type: "program_output", call_id: "call_p", result: "1", status: "completed" },
  { id: "cmp_1", type: "compaction", encrypted_content: "gAAAAA==", created_by: "x", status: "completed" },
  {
    id: "new_1", type: "telepathy_call", status: "completed", content: { not: ["an", "array"] },
    role: "medium", metadata: { theirs: 1 }, seq: -1, created_at: "never", message_id: "theirs",
    extra: { extra: null }, object: "item", nested: [[[[{ a: [] }]]]], "": "no name", "a.b": 0, é: "\u0001",
  },
];
