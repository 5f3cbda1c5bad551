# SPDX-License-Identifier: MIT
"""The sandbox in other people's agents. Each module imports its agent's package only when it is used:

* :mod:`sandbox.integration.interpreter`: Open Interpreter
* :mod:`sandbox.integration.smolagents`: smolagents
* :mod:`sandbox.integration.tools`: a tool for LangChain, and for models by OpenAI's protocol
"""
