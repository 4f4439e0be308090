// SPDX-License-Identifier: MIT
import { Usage } from "@openai/agents";

// A model that gives prepared answers, and keeps its inputs.
export class Scripted {
  asked = [];

  constructor(...turns) {
    this.turns = turns;
  }

  async getResponse({ input }) {
    this.asked.push(structuredClone(input));
    return { usage: new Usage(), output: this.turns.shift(), responseId: `resp_${this.asked.length}` };
  }

  async *getStreamedResponse(request) {
    const { output, responseId } = await this.getResponse(request);
    const usage = { inputTokens: 0, outputTokens: 0, totalTokens: 0 };
    yield { type: "response_done", response: { id: responseId, usage, output } };
  }
}
